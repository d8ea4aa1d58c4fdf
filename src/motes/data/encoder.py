"""A whole table <-> a matrix z of standardised numbers, one column of it for each column that there is to learn.

    z = (y - mean) / scale,    y = f(x) column by column,    log p(x) = log p(z) + sum_j log |dz_j/dx_j|

`Standardiser` is the case of real columns alone. A density is per unit of a real column and a mass per value of a
discrete one; a cell that is missing says nothing, so its log-determinant is 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.bijections import Heaps
from motes.data.blocks import BLOCK
from motes.data.codecs import Codec, fit_codec
from motes.data.columns import Column, cell_at, check_known, infer, kept_of
from motes.data.frames import Frame, Mask, Series, Type, as_frame, joined, mixed, words_of
from motes.data.likeness import by_likeness
from motes.data.states import plain_of, restored
from motes.data.tables import Standardiser
from motes.errors import DataError, UsageError, check_seed

Array = NDArray[np.float64]

BITS = 16  # of the noise: k + u is exact for k up to 2^36


@dataclass(frozen=True)
class Encoded:
    """Rows as a network sees them.

    Attributes:
        z: (n, d), of mean 0 and standard deviation 1 over the rows of the training; 0 where missing.
        known: (n, d), False where missing.
        log_dets: (n, d), log |dz/dx| of each cell; 0 where missing.
    """

    z: Array
    known: Mask
    log_dets: Array

    @property
    def log_det(self) -> Array:
        """(n,): what is added to log p(z) of the known cells of a row to have log p(x) of them."""
        return self.log_dets.sum(axis=1)


@dataclass(frozen=True)
class Encoder:
    """The invertible map between a table and z; `fit` makes it.

    Attributes:
        columns: all of them, as they are treated and why.
        codecs: of the d columns that vary, in their order.
        kept: the one value, a series of length 1, of each column that does not.
        standardiser: y <-> z, (d,).
        rows: how many it was fitted to.
        came: names of all columns that came, where some of them were dropped; otherwise none.
    """

    columns: tuple[Column, ...]
    codecs: tuple[Codec, ...]
    kept: Mapping[str, Series]
    standardiser: Standardiser
    rows: int
    came: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        data: Any,
        overrides: Mapping[str, Any] | None = None,
        *,
        standardise: bool = True,
        name: str = "the data",
    ) -> "Encoder":
        """Decide what each column is, and how it is encoded.

        Args:
            data: rows to learn from, whatever `as_frame` takes.
            overrides: column -> kind and its options; see `motes.data.columns.infer`. One of kind "drop" is left out:
                it is not learned, not given back, and ignored in rows that come later.
            standardise: give z mean 0 and standard deviation 1; otherwise z = y.
            name: what messages call the data.

        Raises:
            DataError: no rows, nothing to learn, or a cell that does not fit; the message names row and column.
            UsageError: an override that does not fit.
        """
        frame = as_frame(data, name=name)
        if not frame.columns:
            raise DataError(f"{name} has no columns; expected at least 1.")
        if not len(frame):
            raise DataError(f"{name} has no rows; expected at least 2 to learn from.")
        came = frame.names
        names, overrides = kept_of(came, overrides)
        if not names:
            raise UsageError(f"all columns of {name} are dropped, so there is nothing to learn.")
        frame = frame.select(names)
        columns = infer(frame, overrides, name=name)
        vary = [column for column in columns if not column.constant]
        if not vary:
            raise DataError(f"no column of {name} varies, so there is nothing to learn.")
        fitted = by_likeness(frame, [fit_codec(column, frame.columns[column.name], name) for column in vary])
        codecs = tuple(codec for codec, _ in fitted)
        standardiser = _standardiser(frame, fitted) if standardise else Standardiser.identity(len(codecs))
        kept = {column.name: _one(frame.columns[column.name]) for column in columns if column.constant}
        return cls(tuple(columns), codecs, kept, standardiser, len(frame), came if len(names) < len(came) else ())

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns of the table."""
        return tuple(column.name for column in self.columns)

    @property
    def types(self) -> dict[str, Type]:
        """Of all columns of the rows that `decode` gives."""
        types = {codec.column: codec.type for codec in self.codecs}
        types |= {name: one.type for name, one in self.kept.items()}
        return {name: types[name] for name in self.names}

    @property
    def dropped(self) -> tuple[str, ...]:
        """Of the columns that were left out."""
        return tuple(name for name in self.came if name not in self.names)

    @property
    def learned(self) -> tuple[str, ...]:
        """Of the columns of z."""
        return tuple(codec.column for codec in self.codecs)

    @property
    def heaps(self) -> Array:
        """The standard deviations in z of the heaps that labels lie in, (d,), and 0 for columns without any."""
        spread = [codec.curve.spread if isinstance(codec.curve, Heaps) else 0.0 for codec in self.codecs]
        return spread / self.standardiser.scale

    @property
    def width(self) -> int:
        """d, the number of columns of z."""
        return len(self.codecs)

    @property
    def warnings(self) -> list[str]:
        """What whoever trains on this table should know, a sentence for each."""
        return [f"column '{column.name}': {said}." for column in self.columns for said in column.warnings]

    def described(self) -> list[dict[str, Any]]:
        """Each column in words: its name, kind, what it becomes for the network, why, how much is missing, warnings."""
        becomes = {codec.column: codec.becomes for codec in self.codecs}
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "becomes": becomes.get(column.name, "kept aside"),
                "why": column.why,
                "missing": column.missing / self.rows,
                "warnings": list(column.warnings),
            }
            for column in self.columns
        ]

    def frame(self, data: Any, *, name: str = "the data") -> Frame:
        """Rows with the columns of the training, in its order; an array has no names, so its order is taken for that.

        Raises:
            DataError: a column too few or too many.
        """
        unnamed = isinstance(data, np.ndarray | list | tuple)
        order = None
        if unnamed:  # with the dropped columns or without them
            order = self.came if self.came and np.shape(data)[1:] == (len(self.came),) else self.names
        frame = as_frame(data, order, name=name)
        if gone := [column for column in self.names if column not in frame.columns]:
            raise DataError(
                f"{name} has no column '{gone[0]}'; the training had {', '.join(self.names)}. "
                "A column that is not known is given with all its cells missing."
            )
        if more := [column for column in frame.names if column not in self.names + self.dropped]:
            raise DataError(
                f"{name} has a column '{more[0]}', which the training had not ({', '.join(self.names)}). Remove it."
            )
        chosen = frame.select(self.names)
        for series in chosen.columns.values():
            check_known(series)
        return chosen

    def encode(self, data: Any, seed: int | None = 0, *, name: str = "the data") -> Encoded:
        """Rows of n cells each -> z. The noise within the cells of discrete columns is that of `seed`.

        Without one, None, it is the row's own: equal rows get equal noise, wherever they stand.

        Raises:
            DataError: what `frame` raises; a cell that its column cannot hold, such as a label that training did not
                see, or another value in a column that was constant. The message names row and column.
        """
        frame = self.frame(data, name=name)
        self._check_kept(frame, name)
        n = len(frame)
        source = self._words(frame, name) if seed is None else check_seed(seed)
        y, log_dets = np.zeros((n, self.width)), np.zeros((n, self.width))
        known = np.ones((n, self.width), bool)
        for j, codec in enumerate(self.codecs):
            series = frame.columns[codec.column]
            here = ~series.missing
            rows = slice(None) if here.all() else here
            values = codec.read(series, name)
            known[:, j] = here
            u = _noise(codec, j, n, source)
            y[rows, j], log_dets[rows, j] = codec.encode(values, u[rows])
        with np.errstate(over="ignore"):
            z = self.standardiser.forward(y)
        log_dets -= np.log(self.standardiser.scale)
        if not known.all():
            z[~known] = log_dets[~known] = 0.0
        return Encoded(z, known, log_dets)

    def _words(self, frame: Frame, name: str) -> NDArray[np.uint64]:
        """64 bits of each row, (n,), which depend on its known cells and on nothing else."""
        columns = [frame.columns[codec.column] for codec in self.codecs]
        cells = [(codec.read(series, name), series.missing) for codec, series in zip(self.codecs, columns, strict=True)]
        return words_of(cells, len(frame))

    def decode(self, z: ArrayLike, known: Mask | None = None) -> Frame:
        """Any z (n, d) -> rows that the training could have held; cells that are not `known` (n, d) are missing.

        `Frame.like` gives them the type that the training's rows came in.
        """
        z = np.asarray(z)
        if z.ndim != 2 or z.shape[1] != self.width:
            raise DataError(f"z has shape {z.shape}; expected (rows, {self.width}).")
        # Block by block, so that of many rows there is little in memory but what comes of them.
        starts = range(0, max(len(z), 1), BLOCK)
        cells = None if known is None else np.asarray(known, bool)
        return joined((self._decoded(z, cells, slice(start, start + BLOCK)) for start in starts), len(z))

    def _decoded(self, z: NDArray[Any], known: Mask | None, block: slice) -> Frame:
        z, known = z[block], None if known is None else known[block]
        if np.isnan(z).any():
            row, j = np.argwhere(np.isnan(z))[0]
            raise DataError(f"z is nan in row {block.start + row + 1}, column '{self.learned[j]}'; expected numbers.")
        with np.errstate(over="ignore"):
            y = self.standardiser.inverse(z.astype(np.float64))
        missing = np.zeros(z.shape, bool) if known is None else ~known
        made = {codec.column: codec.decode(y[:, j], missing[:, j]) for j, codec in enumerate(self.codecs)}
        for name, one in self.kept.items():
            made[name] = one.take(np.zeros(len(z), np.int64))
        return Frame({name: made[name] for name in self.names})

    def put(self, made: Frame, given: Any, *, name: str = "the data") -> Frame:
        """`made`, which `decode` gave, with the known cells of `given` in their places, to the bit.

        Raises:
            DataError: what `encode` raises.
        """
        frame = self.frame(given, name=name)
        cells = dict(made.columns)
        for codec in self.codecs:
            cells[codec.column] = codec.put(cells[codec.column], frame.columns[codec.column], name)
        return Frame(cells)

    def _check_kept(self, frame: Frame, name: str) -> None:
        for column, one in self.kept.items():
            series = frame.columns[column]
            other = ~series.missing if one.missing[0] else _differs(series, one)
            if other.any():
                row = int(other.argmax())
                was = "missing" if one.missing[0] else cell_at(one, 0)
                raise DataError(
                    f"{name}, row {row + 1}, column '{column}': {cell_at(series, row)} came; "
                    f"this column was {was} in all rows of the training."
                )

    # --- on disk ---

    def to_state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays by name, and a dictionary that JSON can hold; `from_state` makes the same encoder of them."""
        about = {
            "columns": [plain_of(column) for column in self.columns],
            "codecs": [plain_of(codec) for codec in self.codecs],
            "kept": {name: plain_of(one) for name, one in self.kept.items()},
            "rows": self.rows,
            "came": list(self.came),
        }
        return {"mean": self.standardiser.mean, "scale": self.standardiser.scale}, about

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> "Encoder":
        """What `to_state` gave.

        Raises:
            KeyError, TypeError, ValueError: anything else.
        """
        columns, codecs = (tuple(map(restored, about[key])) for key in ("columns", "codecs"))
        kept = {name: restored(plain) for name, plain in about["kept"].items()}
        units, came = Standardiser(arrays["mean"], arrays["scale"]), tuple(about.get("came", ()))
        return cls(columns, codecs, kept, units, about["rows"], came)


def _standardiser(frame: Frame, fitted: list[tuple[Codec, NDArray[Any]]]) -> Standardiser:
    mean, scale = np.zeros(len(fitted)), np.ones(len(fitted))
    whole = []  # columns of real numbers without a gap, together as `Standardiser.fit` takes them
    for j, (codec, values) in enumerate(fitted):
        if codec.cells.noisy:
            mean[j], scale[j] = codec.moments(values)
        elif len(values) == len(frame):
            whole.append(j)
        else:
            y = codec.curve.forward(values)
            with np.errstate(over="ignore", invalid="ignore"):
                mean[j], scale[j] = y.mean(), y.std()
    if whole:
        y = np.empty((len(frame), len(whole)))  # row by row in memory: the order in which its sums are taken
        for i, j in enumerate(whole):
            y[:, i] = fitted[j][0].curve.forward(fitted[j][1])
        with np.errstate(over="ignore", invalid="ignore"):
            part = Standardiser.fit(y)
        mean[whole], scale[whole] = part.mean, part.scale
    for j, (codec, values) in enumerate(fitted):
        if not np.isfinite(scale[j]):
            raise DataError(
                f"column '{codec.column}' reaches {np.abs(values).max():g}, too large to standardise. "
                'Rescale it, or set its kind to "heavy".'
            )
    return Standardiser(mean, scale)


def _noise(codec: Codec, j: int, n: int, source: int | NDArray[np.uint64]) -> Array:
    """(n,) inside (0, 1), from a seed or from the words of the rows.

    A row's does not depend on which of the rows before it are missing.
    """
    if not codec.cells.noisy:
        return np.zeros(n)
    if isinstance(source, np.ndarray):
        words = mixed(source + np.uint64(j)) >> np.uint64(64 - BITS)
    else:
        words = np.random.default_rng([source, 662607, j]).integers(0, 2**BITS, n, dtype=np.uint16).astype(np.uint64)
    return (words.astype(np.float64) + 0.5) / 2**BITS


def _one(series: Series) -> Series:
    """The one value of a column that does not vary, or one missing cell."""
    row = int(np.argmin(series.missing))
    one = series.take(slice(row, row + 1))
    return replace(one, values=np.zeros_like(one.values)) if one.missing[0] else one


def _differs(series: Series, one: Series) -> Mask:
    """Where a cell is another value than that of a column that was constant, but for rounding."""
    was = cell_at(one, 0)
    if series.type == "label":
        other = np.array([label != was for label in series.labels] or [False])[series.values]
    elif one.type == "label" or (series.type == "date") != (one.type == "date"):
        other = np.ones(len(series), bool)
    else:
        value = one.values[0].astype(np.float64)
        other = np.abs(series.values - value) > 1e-9 * np.abs(value)
    return other & ~series.missing
