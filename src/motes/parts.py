"""What may be written in each section of a recipe, one dataclass for each kind: keys, defaults and ranges.

`motes.recipes` checks a file against these, `motes.build` makes of them what they name.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal


def _number(default: Any, low: float, high: float = float("inf"), *, open_low: bool = False) -> Any:
    """A field whose value lies in [low, high], or in (low, high] with `open_low`."""
    said = f"a number above {low:g}" if open_low else f"a number at least {low:g}"
    said += f" and at most {high:g}" if high < float("inf") else ""
    good = lambda value: value is None or ((value > low if open_low else value >= low) and value <= high)
    return field(default=default, metadata={"good": good, "said": said})


@dataclass(frozen=True)
class Data:
    """Where the points come from and how they are scaled."""

    rows: int = _number(10_000, 20)  # drawn from a shape; a file is taken whole
    noise: float | None = _number(None, 0)  # blur of a shape; left out: the shape's own
    held_out: float = _number(0.1, 0, 0.9)  # share of a file's rows that is not trained on, for judging
    encode: bool = False  # a table of any columns, each encoded by its kind; otherwise all are real numbers
    standardise: bool = True  # learn columns of mean 0 and standard deviation 1
    label: str | None = None  # the column that holds the class of each row, "class" for a shape; left out: none


@dataclass(frozen=True)
class Betas:
    """A discrete schedule whose betas run from `start` to `end`."""

    kind: Literal["linear", "quad", "sigmoid"] = "linear"
    steps: int = _number(100, 1)
    start: float = _number(1e-4, 0, 0.999999, open_low=True)
    end: float = _number(0.1, 0, 0.999999, open_low=True)


@dataclass(frozen=True)
class Cosine:
    """The discrete schedule of Nichol & Dhariwal 2021."""

    kind: Literal["cosine"] = "cosine"
    steps: int = _number(100, 1)
    offset: float = _number(0.008, 0)
    max_beta: float = _number(0.999, 0, 0.999999, open_low=True)


@dataclass(frozen=True)
class Exploding:
    """sigma_t = sigma_max t^rho, alpha_t = 1 (Karras et al. 2022)."""

    kind: Literal["exploding"] = "exploding"
    sigma_max: float = _number(10.0, 0, open_low=True)
    rho: float = _number(7.0, 0, open_low=True)


@dataclass(frozen=True)
class ContinuousLinear:
    """Betas that rise linearly, without steps (Song et al. 2021)."""

    kind: Literal["continuous_linear"] = "continuous_linear"
    beta_min: float = _number(0.1, 0, 160, open_low=True)
    beta_max: float = _number(20.0, 0, 160, open_low=True)


@dataclass(frozen=True)
class Ending:
    """A quarter of a cosine, or straight lines, that end where `alpha_1` is left of the signal."""

    kind: Literal["continuous_cosine", "rectified_flow"] = "rectified_flow"
    alpha_1: float = _number(0.01, 1e-30, 0.999999)


SchedulePart = Betas | Cosine | Exploding | ContinuousLinear | Ending


@dataclass(frozen=True)
class StepGated:
    """The tutorial's network."""

    kind: Literal["step_gated"] = "step_gated"
    width: int = _number(128, 1)
    depth: int = _number(3, 1)


@dataclass(frozen=True)
class Residual:
    """A residual MLP with time features."""

    kind: Literal["residual"] = "residual"
    width: int = _number(64, 1)
    depth: int = _number(4, 1)
    dropout: float = _number(0.0, 0, 0.9)  # share of the units that training leaves out, others at each step


@dataclass(frozen=True)
class DenoiserPart:
    """What the network says: eps, x_0, v, the velocity of the probability flow, or a preconditioned x_0 ("edm")."""

    kind: Literal["eps", "x0", "v", "velocity", "edm"] = "edm"
    variance: Literal["fixed", "learned"] = "fixed"  # of a reverse step: learned, it is the network's to say


@dataclass(frozen=True)
class LossPart:
    """What is minimised: a squared error with the weight that `learning.losses.LOSSES` has under its kind."""

    kind: Literal["simple", "edm", "x0", "snr", "truncated_snr", "elbo"] = "edm"


@dataclass(frozen=True)
class MinSNRPart:
    """Hang et al. 2023."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: float = _number(5.0, 0, open_low=True)


@dataclass(frozen=True)
class HybridPart:
    """The simple loss, and the variational bound, which teaches the variance (Nichol & Dhariwal 2021)."""

    kind: Literal["hybrid"] = "hybrid"
    weight: float = _number(0.001, 0, open_low=True)


Drawn = Literal["uniform", "antithetic", "stratified", "importance"]


@dataclass(frozen=True)
class StepsDrawn:
    """Every step of a discrete schedule is equally likely."""

    kind: Literal["steps"] = "steps"
    draw: Drawn = "stratified"


@dataclass(frozen=True)
class LogNormal:
    """log(sigma_t / alpha_t) ~ N(mean, std^2)."""

    kind: Literal["log_normal"] = "log_normal"
    mean: float = -1.8
    std: float = _number(1.5, 0, open_low=True)
    draw: Drawn = "stratified"


@dataclass(frozen=True)
class UniformDrawn:
    """t is uniform between `least` and 1."""

    kind: Literal["uniform"] = "uniform"
    least: float = _number(1e-3, 0, 0.5, open_low=True)
    draw: Drawn = "stratified"


@dataclass(frozen=True)
class LogitNormal:
    """log(t / (1 - t)) ~ N(mean, std^2)."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    std: float = _number(1.0, 0, open_low=True)
    draw: Drawn = "stratified"


TimesPart = StepsDrawn | LogNormal | UniformDrawn | LogitNormal


@dataclass(frozen=True)
class Training:
    """Adam, its learning rate, and the moving average of the weights."""

    steps: int = _number(4000, 1)
    batch: int = _number(512, 1)
    last_batch: Literal["fill", "partial"] = "fill"  # a short last batch: from the next epoch, or left short
    learning_rate: float = _number(1e-2, 0, open_low=True)
    decay: Literal["constant", "cosine"] = "cosine"
    warmup: int = _number(100, 0)  # steps over which the learning rate rises from 0
    clip_norm: float = _number(1.0, 0, open_low=True)
    ema: float = _number(0.998, 0, 1)
    weights: Literal["averaged", "last"] = "averaged"  # the ones that are sampled from
    label_dropout: float = _number(0.1, 0, 1)  # how often a row's label is withheld
    validation: float = _number(0.0, 0, 0.9)  # share of the rows that says when to stop; 0: all steps are taken
    check_every: int = _number(100, 1)  # steps from one look at these rows to the next
    patience: int = _number(10, 1)  # looks without a better loss, after which training stops
    averages: int = _number(32, 0)  # stores of two averages over the run, from which any other is made; 0: none
    snapshot_epochs: int = _number(0, 0)  # a picture every so many epochs; 0: five over the run

    def snapshot_steps(self, rows: int) -> int:
        """Steps from one snapshot of the weights to the next."""
        if self.snapshot_epochs:
            return self.snapshot_epochs * -(-rows // self.batch)
        return -(-self.steps // 5)


@dataclass(frozen=True)
class Table:
    """A table by masked diffusion: its codes, its network, and how it is trained. What is left out suits the rows."""

    bins: int = _number(128, 2)  # codes of a column of numbers, at most
    missing: Literal["hide", "code"] = "hide"  # missing entries: not known, or a value of their own that is drawn too
    relations: bool = True  # find c = a + b, start <= end, and labels that follow from others; keep them
    width: int | None = _number(None, 1)  # of the network's state
    depth: int | None = _number(None, 1)  # blocks of the network
    dropout: float | None = _number(None, 0, 0.9)  # share of the units that training leaves out
    components: int = _number(6, 1)  # of the Gaussian mixture that numbers begin from, at most
    own: int = _number(2, 0)  # normals of the network's own, for each column of numbers
    steps: int | None = _number(None, 1)  # of training, at most
    batch: int | None = _number(None, 8)  # rows of a step
    fixed: float = _number(0.5, 0, 1)  # share of training in the order in which rows are drawn and scored
    learning_rate: float = _number(2e-3, 0, open_low=True)  # at its highest
    ema: float = _number(0.99, 0, 1)
    clip_norm: float = _number(1.0, 0, open_low=True)
    weight_decay: float | None = _number(None, 0)  # of weights that many codes share, in units of the learning rate
    check_every: int | None = _number(None, 1)  # steps from one look at the validation rows to the next
    patience: int = _number(6, 1)  # looks without a better one, after which training stops
    calibrate: bool = True  # give drawn rows the training rows' shares of each code


# --- samplers: the keys of each are the fields of the class that `sampling.samplers.SAMPLERS` has under its kind ------


@dataclass(frozen=True)
class AncestralPart:
    """Ho et al. 2020, algorithm 2."""

    kind: Literal["ancestral"] = "ancestral"
    variance: Literal["beta", "posterior", "learned"] = "beta"
    noiseless_last: bool = True


@dataclass(frozen=True)
class DDIMPart:
    """Song et al. 2021 (DDIM)."""

    kind: Literal["ddim"] = "ddim"
    eta: float = _number(0.0, 0, 1)  # 0: no noise; 1: that of ancestral sampling


@dataclass(frozen=True)
class PlainPart:
    """A sampler without options: it solves the probability flow, or the reverse diffusion."""

    kind: Literal[
        "euler", "heun", "dpmpp_1s", "dpmpp_2s", "dpmpp_2m", "dpmpp_3m", "euler_maruyama", "stochastic_heun"
    ] = "dpmpp_3m"


@dataclass(frozen=True)
class GradientEstimationPart:
    """Permenter & Yuan 2023."""

    kind: Literal["gradient_estimation"] = "gradient_estimation"
    gamma: float = 1.5


@dataclass(frozen=True)
class AdaptivePart:
    """Steps of the solver's own size, from each time of the grid to the next."""

    kind: Literal["adaptive"] = "adaptive"
    rtol: float = _number(1e-4, 0, open_low=True)
    atol: float = _number(1e-4, 0, open_low=True)


@dataclass(frozen=True)
class SDEPart:
    """DPM-Solver++(2M) on the reverse diffusion."""

    kind: Literal["dpmpp_2m_sde"] = "dpmpp_2m_sde"
    eta: float = _number(1.0, 0, 1)


@dataclass(frozen=True)
class ChurnPart:
    """Karras et al. 2022, algorithm 2."""

    kind: Literal["churn"] = "churn"
    churn: float = _number(10.0, 0)
    from_level: float = _number(0.0, 0)
    to_level: float = _number(1e6, 0)
    noise: float = _number(1.0, 0)


@dataclass(frozen=True)
class PredictorCorrectorPart:
    """An ancestral step, then Langevin steps."""

    kind: Literal["predictor_corrector"] = "predictor_corrector"
    corrections: int = _number(1, 1)
    snr: float = _number(0.16, 0, 0.99, open_low=True)


@dataclass(frozen=True)
class LangevinPart:
    """Langevin steps alone."""

    kind: Literal["langevin"] = "langevin"
    corrections: int = _number(5, 1)
    snr: float = _number(0.3, 0, 0.99, open_low=True)


SamplerPart = (
    AncestralPart
    | DDIMPart
    | PlainPart
    | GradientEstimationPart
    | AdaptivePart
    | SDEPart
    | ChurnPart
    | PredictorCorrectorPart
    | LangevinPart
)
OFF_GRID = ("dpmpp_2s", "churn", "adaptive")  # ask the denoiser at times between those of the grid


# --- grids ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UniformGrid:
    """Equal steps in t."""

    kind: Literal["uniform"] = "uniform"
    steps: int | None = _number(None, 1)  # left out: those of the schedule


@dataclass(frozen=True)
class QuadraticGrid:
    """Equal steps in sqrt(t)."""

    kind: Literal["quadratic"] = "quadratic"
    steps: int = _number(64, 1)


@dataclass(frozen=True)
class KarrasGrid:
    """Equal steps in (sigma_t / alpha_t)^(1/rho), then 0."""

    kind: Literal["karras"] = "karras"
    steps: int = _number(32, 1)
    sigma_min: float = _number(0.004, 0, open_low=True)
    rho: float = _number(7.0, 0, open_low=True)


@dataclass(frozen=True)
class LogSNRGrid:
    """Equal steps in the log-SNR, then 0."""

    kind: Literal["log_snr"] = "log_snr"
    steps: int = _number(64, 1)
    sigma_min: float = _number(0.004, 0, open_low=True)


def _falls(times: tuple[float, ...]) -> bool:
    return len(times) > 1 and times[0] == 1 and times[-1] == 0 and all(t > s for t, s in pairwise(times))


@dataclass(frozen=True)
class GivenGrid:
    """Times of your own."""

    kind: Literal["given"] = "given"
    times: tuple[float, ...] = field(
        default=(1.0, 0.0), metadata={"good": _falls, "said": "numbers that fall from 1 to 0"}
    )


GridPart = UniformGrid | QuadraticGrid | KarrasGrid | LogSNRGrid | GivenGrid
