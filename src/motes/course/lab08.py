"""Exercises of lab 8: likelihoods."""

import numpy as np

from motes.course.exercises import exercise

# --- easy: from standardised units to the data's own -----------------------------------------------------------------


def _units_inputs(rng):
    return [(rng.normal(size=5), rng.uniform(0.2, 3.0, size=d)) for d in (2, 3, 5)]


@exercise(
    lab=8,
    level="easy",
    question="log p(x) of rows x, from log p(z) of the standardised rows z = (x - mean) / std.",
    inputs=_units_inputs,
    wrong={
        "the sign is wrong: if std is above 1, x spreads more than z, and its density is lower": lambda log_p, std: (
            log_p + np.sum(np.log(std))
        ),
        "the volume is subtracted instead of its logarithm": lambda log_p, std: log_p - np.prod(std),
        "the logarithm of the variance instead of the standard deviation": lambda log_p, std: (
            log_p - 2 * np.sum(np.log(std))
        ),
        "the mean over columns instead of the sum": lambda log_p, std: log_p - np.mean(np.log(std)),
        "the density is not changed at all": lambda log_p, std: log_p + 0 * std[0],
        "bits instead of nats": lambda log_p, std: log_p - np.sum(np.log2(std)),
        "the logarithm of the sum of the standard deviations: the volume is their product": (
            lambda log_p, std: log_p - np.log(np.sum(std))
        ),
        "log p is divided by the volume: dividing a density is a subtraction for its logarithm": (
            lambda log_p, std: log_p / np.prod(std)
        ),
        "the logarithm is missing: a volume becomes a sum of logarithms": (lambda log_p, std: log_p - np.sum(std)),
        "the density instead of its logarithm": (lambda log_p, std: np.exp(log_p) / np.prod(std)),
        "a logarithm to base 10": (lambda log_p, std: log_p - np.sum(np.log10(std))),
        "log p is divided by the logarithm of the volume: a quotient of densities is a difference of logarithms": (
            lambda log_p, std: log_p / np.sum(np.log(std))
        ),
    },
)
def in_data_units(log_p, std):
    """A density is a mass per volume. Which volume does a cube with sides of 1 in z have in x?

    The density is divided by the product of the standard deviations. Take the logarithm of that.
    """
    return log_p - np.sum(np.log(std))


# --- middle: the log-likelihood at the end of a path -----------------------------------------------------------------


def _path_inputs(rng):
    calls = []
    for n, d in ((4, 2), (3, 1), (5, 3)):
        levels = np.geomspace(0.1, rng.uniform(5, 12), 9)
        calls.append((rng.normal(size=(n, d)) * levels[-1], rng.uniform(0, d, size=(n, 9)) / levels, levels))
    return calls


def _path(y_end, divergences, levels, *, sign=1, std=None, dims=None, heights=None, places=None):
    """Return the log-likelihood with one part replaced."""
    d, std = y_end.shape[1] if dims is None else dims, std or np.sqrt(1 + levels[-1] ** 2)
    heights = (divergences[:, 1:] + divergences[:, :-1]) / 2 if heights is None else heights
    integral = np.sum(heights * np.diff(levels if places is None else places), axis=1)
    prior = -np.sum(y_end**2, axis=1) / (2 * std**2) - d / 2 * np.log(2 * np.pi * std**2)
    return prior + sign * integral


@exercise(
    lab=8,
    level="middle",
    question="log p of n points, from where the flow carries them and the divergence of eps_hat along their paths.",
    inputs=_path_inputs,
    wrong={
        "the sign of the integral is wrong: a flow that spreads out comes from a higher density": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, sign=-1)
        ),
        "the prior is N(0, I), but y at the last level r has the variance 1 + r^2": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, std=1.0)
        ),
        "a variance where a standard deviation belongs, in the prior": lambda y_end, divergences, levels: _path(
            y_end, divergences, levels, std=1 + levels[-1] ** 2
        ),
        "the normaliser of the prior counts one column instead of d": lambda y_end, divergences, levels: _path(
            y_end, divergences, levels, dims=1
        ),
        "the integral is over log r, but the divergence belongs to dy/dr": lambda y_end, divergences, levels: _path(
            y_end, divergences, levels, places=np.log(levels)
        ),
        "each interval has the divergence of its lower end: the trapezoidal rule takes the mean of both ends": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, heights=divergences[:, :-1])
        ),
        "the divergence is left out": lambda y_end, divergences, levels: _path(y_end, divergences, levels, sign=0),
        "the variance at the end is r^2: the data itself has variance 1": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, std=levels[-1])
        ),
        "the variance is missing in the normaliser": (
            lambda y_end, divergences, levels: (
                _path(y_end, divergences, levels) + y_end.shape[1] / 2 * np.log(1 + levels[-1] ** 2)
            )
        ),
        "the normaliser of the prior is missing": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, dims=0)
        ),
        "the factor 1/2 in the exponent of the prior is missing": (
            lambda y_end, divergences, levels: _path(np.sqrt(2) * y_end, divergences, levels)
        ),
        "the sign of the normaliser is wrong: a wide Gaussian is low": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, dims=-y_end.shape[1])
        ),
        "each interval has the divergence of its upper end: the trapezoidal rule takes the mean of both ends": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, heights=divergences[:, 1:])
        ),
        "the divergences are added without the widths of the intervals": (
            lambda y_end, divergences, levels: _path(y_end, divergences, levels, sign=0) + divergences.sum(axis=1)
        ),
        "the prior is missing": (lambda y_end, divergences, levels: _path(0 * y_end, divergences, levels, dims=0)),
        "y is summed over all points: each point has its own distance from 0": (
            lambda y_end, divergences, levels: _path(
                np.full((len(y_end), 1), np.linalg.norm(y_end)), divergences, levels, dims=y_end.shape[1]
            )
        ),
    },
)
def flow_log_prob(y_end, divergences, levels):
    """Where does the path end, how likely is this point there, and how much did the density change along the path?

    Add the integral of the divergence over r to the log-density of N(0, (1 + r^2) I) at the end, with r =
    levels[-1].

    The log-density of N(0, v I) is -|y|^2 / (2 v) - d / 2 log(2 pi v). Use the trapezoidal rule for each row of
    `divergences` (n, k).
    """
    variance = 1 + levels[-1] ** 2
    prior = -np.sum(y_end**2, axis=1) / (2 * variance) - y_end.shape[1] / 2 * np.log(2 * np.pi * variance)
    heights = (divergences[:, 1:] + divergences[:, :-1]) / 2
    return prior + heights @ np.diff(levels)


# --- research: the entropy of the data from the loss -----------------------------------------------------------------


def _loss_inputs(rng):
    calls = []
    for d in (2, 3, 5):
        levels, std = np.geomspace(0.01, 20, 25), rng.uniform(0.2, 0.6)
        calls.append((levels, d * std**2 / (std**2 + levels**2), d))
    return calls


def _entropy(levels, losses, d, *, sign=-1, places=np.log, share=lambda losses, d: d - losses, spread=None):
    heights = share(losses, d)
    variance = 1 + levels[-1] ** 2 if spread is None else spread
    area = np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(places(levels)))
    return d / 2 * (1 + np.log(2 * np.pi * variance)) + sign * area


@exercise(
    lab=8,
    level="research",
    question="The entropy of data from the minimum of the loss E|eps - eps_hat|^2 at each of rising noise levels r.",
    inputs=_loss_inputs,
    wrong={
        "the sign of the integral is wrong: noise raises the entropy, so without it there is less": (
            lambda levels, losses, d: _entropy(levels, losses, d, sign=1)
        ),
        "the integral is over r instead of log r": lambda levels, losses, d: _entropy(
            levels, losses, d, places=lambda levels: levels
        ),
        "the loss itself is integrated, instead of what it lacks to d": lambda levels, losses, d: _entropy(
            levels, losses, d, share=lambda losses, d: losses
        ),
        "the loss is taken for a mean over columns, but it is a sum": lambda levels, losses, d: _entropy(
            levels, losses, d, share=lambda losses, d: d * (1 - losses)
        ),
        "the entropy at the last level is taken from N(0, I)": lambda levels, losses, d: _entropy(
            levels, losses, d, spread=1.0
        ),
        "the integral is over the log-SNR, -2 log r, so it counts twice": lambda levels, losses, d: _entropy(
            levels, losses, d, sign=-2
        ),
        "a standard deviation where a variance belongs, in the entropy at the last level": (
            lambda levels, losses, d: _entropy(levels, losses, d, spread=np.sqrt(1 + levels[-1] ** 2))
        ),
        "the area is halved: the factor 1/2 belongs to an integral over the log-SNR": (
            lambda levels, losses, d: _entropy(levels, losses, d, sign=-0.5)
        ),
        "the variance at the end is r^2: the data itself has variance 1": (
            lambda levels, losses, d: _entropy(levels, losses, d, spread=levels[-1] ** 2)
        ),
        "the 1 in the entropy of a Gaussian is missing": (
            lambda levels, losses, d: _entropy(levels, losses, d) - d / 2
        ),
        "the entropy at the end counts one column instead of d": (
            lambda levels, losses, d: (
                _entropy(levels, losses, d) - (d - 1) / 2 * (1 + np.log(2 * np.pi * (1 + levels[-1] ** 2)))
            )
        ),
        "1 - loss instead of d - loss: the loss is a sum over columns": (
            lambda levels, losses, d: _entropy(levels, losses, d, share=lambda losses, d: 1 - losses)
        ),
        "the entropy at the last level is missing": (
            lambda levels, losses, d: (
                _entropy(levels, losses, d) - d / 2 * (1 + np.log(2 * np.pi * (1 + levels[-1] ** 2)))
            )
        ),
    },
)
def entropy_from_losses(levels, losses, d):
    """At the last level the entropy is known. How does it change with the noise level, and how does the loss enter?

    Start from the entropy at the last level, and integrate dh/dlog r = d - loss down to the first.

    At the last level y is nearly N(0, (1 + r^2) I), with the entropy d / 2 (1 + log(2 pi (1 + r^2))). `losses` are
    sums over the d columns; use the trapezoidal rule in log r.
    """
    heights = d - losses
    fall = np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(np.log(levels)))
    return d / 2 * (1 + np.log(2 * np.pi * (1 + levels[-1] ** 2))) - fall


# --- find the fault --------------------------------------------------------------------------------------------------


class _Suspect:
    """The exact model of eight Gaussians, with a fault in its log-likelihood."""

    def sample(self, n, *, seed=0):
        """Draw rows, (n, 2)."""
        from motes import truth

        return truth("eight_gaussians").sample(n, seed=seed)

    def score_samples(self, x):
        """Return log p(x) in nats, (n,), of rows x (n, 2)."""
        from motes import truth

        z = truth("eight_gaussians").sample(10_000, seed=0).std(axis=0)
        return truth("eight_gaussians").log_density(x) + np.sum(np.log(z))


def broken():
    """Return a model whose log-likelihoods have a fault."""
    return _Suspect()


def _bits():
    """In bits, the difference from the exact log p would be proportional to log p."""
    return "bits"


def _divergence():
    """Its integral differs from point to point, and the difference from the exact log p does not."""
    return "divergence"


def _prior():
    """Points end at different places of the prior, and the difference from the exact log p is the same for all."""
    return "prior"


def _steps():
    """Integration errors differ from point to point, and the difference from the exact log p does not."""
    return "steps"


@exercise(
    lab=8,
    level="middle",
    question='What is wrong with fault(8).score_samples: "bits", "divergence", "prior", "steps" or "units"?',
    wrong={
        "blaming the bits": _bits,
        "blaming the divergence": _divergence,
        "blaming the prior": _prior,
        "blaming the steps": _steps,
    },
)
def fault_08():
    """Subtract the exact log p. How does the difference depend on the point, and what is its exponential?

    Compare this number with the standard deviations of the two columns of the data.
    """
    return "units"
