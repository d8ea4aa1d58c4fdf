"""Networks: (x (d,), time ()) -> (d,), some with a third input or more outputs, independent of diffusion."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from motes.ranges import Checked, number

LEAST_SQUARE = 1e-6  # e of a scale, which limits scales to about a thousandth of the context's standard deviation


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)), to float32 rounding of 1; `jax.nn.softplus` is exact in the tail but 5 times slower."""
    return jnp.maximum(x, 0) + jnp.log(1 + jnp.exp(-jnp.abs(x)))


@softplus.defjvp
def _softplus_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (x,), (dx,) = primals, tangents
    return softplus(x), jax.nn.sigmoid(x) * dx


@dataclass(frozen=True)
class StepGated(Checked):
    """Options of `StepGatedMLP`, the tutorial's network."""

    width: int = number(128, 1, 16_384)
    depth: int = number(3, 1, 256)

    def network(self, dim_in: int, dim_out: int, *, context: int, steps: int | None, key: Array) -> "StepGatedMLP":
        """Build an untrained network for points of `dim_in` columns and `steps` steps, without a third input."""
        if steps is None or context:
            raise ValueError(
                f"StepGated got steps = {steps} and context = {context}; expected a schedule of steps, and no context."
            )
        return StepGatedMLP(dim_in, steps, self.width, self.depth, outputs=dim_out, key=key)


def _count_parameters(network: eqx.Module) -> int:
    """Return the number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array)))


class StepGatedMLP(eqx.Module):
    """The tutorial's network: each hidden layer is a Linear times a learned gate per step, then a softplus.

    A time k/T selects the gates of step k - 1; any other time selects the nearest step.
    For d = 2, T = 100, width 128 and depth 3 it has 72,066 parameters.

    Example:
        >>> from motes.points import StepGatedMLP
        >>> network = StepGatedMLP(dim=2, steps=100, key=jax.random.key(0))
        >>> sum(leaf.size for leaf in jax.tree.leaves(network))
        72066
    """

    layers: tuple[eqx.nn.Linear, ...]
    gates: tuple[Array, ...]  # each (T, width), drawn from U(0, 1)
    out: eqx.nn.Linear

    def __init__(
        self,
        dim: int,
        steps: int,
        width: int = StepGated.width,
        depth: int = StepGated.depth,
        *,
        outputs: int | None = None,
        key: Array,
    ):
        keys = jax.random.split(key, 2 * depth + 1)
        sizes = [dim] + [width] * depth
        self.layers = tuple(eqx.nn.Linear(sizes[i], width, key=keys[i]) for i in range(depth))
        self.gates = tuple(jax.random.uniform(k, (steps, width)) for k in keys[depth : 2 * depth])
        self.out = eqx.nn.Linear(width, outputs or dim, key=keys[-1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_count_parameters(self):,} parameters)"

    def __call__(self, x: Array, time: Array) -> Array:
        steps = self.gates[0].shape[0]
        row = jnp.clip(jnp.round(time * steps).astype(int) - 1, 0, steps - 1)
        for layer, gate in zip(self.layers, self.gates, strict=True):
            x = softplus(gate[row] * layer(x))
        return self.out(x)


@dataclass(frozen=True)
class Residual(Checked):
    """Options of `ResidualMLP`, a network with residual hidden layers and time features."""

    width: int = number(48, 1, 16_384)
    depth: int = number(4, 1, 256)
    dropout: float | None = number(None, 0, 0.9)  # dropout rate; None: chosen from the data
    members: int = number(1, 1, 256)  # networks trained separately on the same rows, whose mean is the output
    scales: int | None = number(None, 0, 1000)  # number of learned log scales of the context; None: from the data
    octaves: int | None = number(None, 0, 16)  # octaves of sines and cosines of each column; None: from the data

    def network(
        self, dim_in: int, dim_out: int, *, context: int, steps: int | None, key: Array
    ) -> "ResidualMLP | Ensemble":
        """Build an untrained network for points of `dim_in` columns, conditioned on `context` numbers."""
        options: dict[str, Any] = {"dropout": self.dropout or 0.0, "octaves": self.octaves or 0, "outputs": dim_out}
        scales = (self.scales or 0) if context else 0
        build = partial(ResidualMLP, dim_in, self.width, self.depth, context, scales=scales, **options)
        if self.members == 1:
            return build(key=key)
        return Ensemble(tuple(build(key=one) for one in jax.random.split(key, self.members)))


class ResidualMLP(eqx.Module):
    """A small MLP with residual hidden layers, h + gelu(W h + b), whose input is x with time features.

    The features are the time and the sines and cosines of four octaves of it, the slowest with period 8, which suits
    both log(sigma) / 4 and t in [0, 1]. With `octaves`, the inputs also include the sines and cosines of x, 2 x, 4 x
    and so on: edges that an MLP blurs are sharper, and few rows are memorised (Tancik et al. 2020, "Fourier features
    let networks learn high frequency functions in low dimensional domains").

    With `context` = c the network also takes a vector (c,), zeros by default, and the logarithms of `scales` numbers
    learned from it (`LogScales`). With `bits`, random bytes (droppable,) that `thinned` sets in training, a share
    `dropout` of the units is dropped before and after each hidden layer (Srivastava et al. 2014).

    Example:
        >>> from motes.points import ResidualMLP
        >>> network = ResidualMLP(dim=2, width=16, depth=2, key=jax.random.key(0))
        >>> network(jnp.array([1.0, -1.0]), jnp.array(0.3)).shape
        (2,)
    """

    into: eqx.nn.Linear
    hidden: tuple[eqx.nn.Linear, ...]
    out: eqx.nn.Linear
    scales: "LogScales | None"
    bits: Array | None  # None in a trained network; `thinned` sets them for one row of a training step
    context: int = eqx.field(static=True)
    dropout: float = eqx.field(static=True)
    octaves: int = eqx.field(static=True)

    def __init__(
        self,
        dim: int,
        width: int = Residual.width,
        depth: int = Residual.depth,
        context: int = 0,
        *,
        dropout: float = 0.0,
        scales: int = 0,
        octaves: int = 0,
        outputs: int | None = None,
        key: Array,
    ):
        keys = jax.random.split(key, depth + 2)
        features = jax.eval_shape(_time_features, jnp.zeros(())).size + 2 * octaves * dim
        self.into = _make_linear(dim + features + context + scales, width, keys[0])
        self.scales = LogScales(context, scales, key=jax.random.fold_in(key, depth)) if scales else None
        self.bits, self.context, self.dropout, self.octaves = None, context, dropout, octaves
        self.hidden = tuple(_make_linear(width, width, k) for k in keys[1:-1])
        # Starts at zero, so that an untrained network returns 0 for any input.
        self.out = jax.tree.map(jnp.zeros_like, eqx.nn.Linear(width, outputs or dim, key=keys[-1]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_count_parameters(self):,} parameters)"

    @property
    def droppable(self) -> int:
        """Number of units that dropout applies to, before and after each hidden layer."""
        return 2 * sum(len(layer.weight) for layer in self.hidden)

    def __call__(self, x: Array, time: Array, context: Array | None = None) -> Array:
        context = jnp.zeros(self.context, x.dtype) if context is None else context
        scales = [] if self.scales is None else [self.scales(context)]
        parts = [x, _time_features(time), *_make_waves(x, self.octaves), context, *scales]
        h = jax.nn.gelu(self.into(jnp.concatenate(parts)))
        count = 2 * len(self.hidden)
        masks = [None] * count if self.bits is None else [*self.bits.reshape(count, -1)]
        for layer, before, after in zip(self.hidden, masks[::2], masks[1::2], strict=True):
            h = h + _drop(jax.nn.gelu(layer(_drop(h, self.dropout, before))), self.dropout, after)
        return self.out(h)


class LogScales(eqx.Module):
    """Log scales of an observation, such as the standard deviation of several measurements.

        log s_i = 1/2 log(e + sum_j a_ij (w_j . c + b_j)^2),    a_i a softmax

    The width of a posterior is often proportional to the spread of the measurements, over orders of magnitude. Additive
    layers hardly learn a spread, and even less its logarithm.
    """

    forms: eqx.nn.Linear  # w and b, two forms for each scale
    shares: Array  # (scales, 2 scales), a before the softmax

    def __init__(self, context: int, scales: int, *, key: Array):
        into, mixed = jax.random.split(key)
        self.forms = _make_linear(context, 2 * scales, into)
        self.shares = jax.random.normal(mixed, (scales, 2 * scales))

    def __call__(self, context: Array) -> Array:
        return jnp.log(LEAST_SQUARE + jax.nn.softmax(self.shares, axis=1) @ self.forms(context) ** 2) / 2


class Ensemble(eqx.Module):
    """Networks whose outputs are averaged, which reduces the variance of training on few rows.

    The members run one after another, since a product of stacked matrices is slower on a CPU.
    """

    members: tuple[ResidualMLP, ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.members)} members, {_count_parameters(self):,} parameters)"

    def __call__(self, x: Array, time: Array, context: Array | None = None) -> Array:
        return jnp.stack([member(x, time, context) for member in self.members]).mean(axis=0)


M = TypeVar("M", bound=eqx.Module)


def each_alone(module: M) -> list[M]:
    """Split a module with an ensemble into one module per member; return others alone."""
    is_ensemble = lambda part: isinstance(part, Ensemble)
    ensembles = [part for part in jax.tree.leaves(module, is_leaf=is_ensemble) if is_ensemble(part)]
    if not ensembles:
        return [module]
    with_member = lambda k: jax.tree.map(
        lambda part: part.members[k] if is_ensemble(part) else part, module, is_leaf=is_ensemble
    )
    return [with_member(k) for k in range(len(ensembles[0].members))]


def droppable(module: eqx.Module) -> int:
    """Return the number of random bytes that a module's dropout needs; 0 without dropout."""
    networks = filter(_is_dropping, jax.tree.leaves(module, is_leaf=_is_dropping))
    return max((one.droppable for one in networks), default=0)


def thinned(module: M, bits: Array) -> M:
    """Apply dropout with the random bytes `bits` in every network of `module` that has it."""
    drop = lambda part: eqx.tree_at(lambda one: one.bits, part, bits, is_leaf=lambda leaf: leaf is None)
    return jax.tree.map(lambda part: drop(part) if _is_dropping(part) else part, module, is_leaf=_is_dropping)


def _is_dropping(part: Any) -> bool:
    return isinstance(part, ResidualMLP) and part.dropout > 0


def _drop(h: Array, dropout: float, bits: Array | None) -> Array:
    if bits is None or not dropout:
        return h
    out = round(256 * dropout)
    return jnp.where(bits >= out, h * (256 / (256 - out)), 0)


def _time_features(time: Array) -> Array:
    angle = time * (math.pi / 4) * jnp.array([1, 2, 4, 8], time.dtype)
    return jnp.concatenate([jnp.atleast_1d(time), jnp.sin(angle), jnp.cos(angle)])


def _make_waves(x: Array, octaves: int) -> list[Array]:
    angles = [x * 2**k for k in range(octaves)]
    return [wave(angle) for angle in angles for wave in (jnp.sin, jnp.cos)]


def _make_linear(into: int, out: int, key: Array) -> eqx.nn.Linear:
    """Build a Linear layer with weights N(0, 1 / into) and zero bias."""
    layer = eqx.nn.Linear(into, out, key=key)
    weight = jax.random.normal(key, (out, into)) / math.sqrt(into)
    return eqx.tree_at(lambda linear: (linear.weight, linear.bias), layer, (weight, jnp.zeros(out)))
