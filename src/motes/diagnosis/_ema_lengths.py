"""How long an average of the weights is best? Several lengths, compared on points that the model has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import ArrayLike

from motes._seeds import seed_key
from motes.data._tables import Table
from motes.evaluation._excess import excess_loss, noise_levels
from motes.evaluation._irreducible import expected_loss
from motes.models._points import PointModel
from motes.models._sources import source_of

LENGTHS = (0.02, 0.03, 0.045, 0.07, 0.1, 0.14, 0.19, 0.25)  # as shares of the training
ROWS = 8192  # real points that a length is compared on


@dataclass(frozen=True)
class EmaLengths:
    """What a model loses with other averages of its weights.

    Attributes:
        evaluated_against: the unseen points, in words.
        measure: what `losses` are, in words.
        lengths: of the averages; None for the weights that the model has.
        losses, errors: one for each length, and its standard error. All have the same rows, times and noise, so that
            their differences are known better than that.

    Example:
        >>> from motes.diagnosis import compare_ema_lengths
        >>> found = compare_ema_lengths(model.inner, "moons", lengths=(0.1, 0.2))
        >>> found.lengths, len(found.losses)
        ((None, 0.1), 2)
    """

    evaluated_against: str
    measure: str
    lengths: tuple[float | None, ...]
    losses: tuple[float, ...]
    errors: tuple[float, ...]

    def __repr__(self) -> str:
        return f"EmaLengths({len(self.lengths)} lengths, the best {self.best})"

    @property
    def best(self) -> float:
        """The length of least loss, the present weights left out."""
        return min((loss, length) for loss, length in zip(self.losses, self.lengths, strict=True) if length)[1]

    def __str__(self) -> str:
        lines = [
            f"{'present' if length is None else format(length, 'g'):>7}  {loss:>10.5f} ± {error:.5f}"
            + ("  best" if length == self.best else "")
            for length, loss, error in zip(self.lengths, self.losses, self.errors, strict=True)
        ]
        return "\n".join([f" length  {self.measure}, on {self.evaluated_against}", *lines])


def compare_ema_lengths(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    lengths: tuple[float, ...] = LENGTHS,
    seed: int = 0,
    on_length: Callable[[int], None] | None = None,
) -> EmaLengths:
    """How good averages of the weights over other lengths are (Karras et al. 2024, section 3), on unseen points.

    Where the distribution of the points is known it is the network's error in nats a row, otherwise the loss of the
    training.

    Args:
        model: with averages, as `motes train` leaves them.
        source: what to compare with; None takes what the model was trained on.
        lengths: to try, as shares of the training; one that too little was stored for is left out.
        seed: of rows, times and noise.
        on_length: called with the number of lengths tried so far, the present weights first.

    Raises:
        UsageError: no averages, a length out of range, or data that is not to be had.
        DataError: data that cannot be used.

    Example:
        >>> from motes.diagnosis import compare_ema_lengths
        >>> compare_ema_lengths(model.inner, "moons", lengths=(0.1, 0.2)).best in (None, 0.1, 0.2)
        True
    """
    origin, stored = source_of(model, source), model.averages
    rows = model.standardiser.forward(origin.real(ROWS)[0])
    if stored is not None:
        lengths = tuple(length for length in lengths if stored.can_make(length))
    schedule, key = model.denoiser.schedule, seed_key(seed, "lengths")
    exact = origin.truth.oracle(schedule, model.standardiser) if origin.truth else None
    t, _ = noise_levels(schedule, model.lowest_noise)
    found: list[tuple[float, float]] = []
    for length in (None, *lengths):
        denoiser = model.denoiser if length is None else model.averaged_over(length).denoiser
        if exact is not None:
            excess = excess_loss(denoiser, exact, rows, t, key=key)
            found.append((excess.nats, excess.nats_error))
        else:
            loss = expected_loss(denoiser, model.recipe.loss, rows, model.recipe.times, key=key)
            found.append((loss.mean, loss.error))
        if on_length:
            on_length(len(found))
    losses, errors = zip(*found, strict=True)
    measure = "excess loss in nats a row" if exact is not None else "loss"
    return EmaLengths(f"{origin.evaluated_against} of {origin.name}", measure, (None, *lengths), losses, errors)
