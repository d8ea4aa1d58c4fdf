"""One column of a table <-> real numbers y, by an increasing map with its log-determinant.

    y = f(w),    log p(x) = log of the mean over u of p(y) |dy/dw|

where w is the number x, or that of a discrete cell plus uniform noise u. One draw of u gives log p(x) or less on
average (Theis et al. 2016, section 3.1), and the density of a cell integrates to the mass of its value.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.bijections import (
    Asinh,
    Bijection,
    Cells,
    Heaps,
    Identity,
    Log,
    Logit,
    Quantiles,
    Softplus,
    deviation,
    fit_asinh,
)
from motes.data.cells import UNITS, Labels, Reals, Steps
from motes.data.columns import (
    HEAVY,
    Column,
    cell_at,
    check_finite,
    common_step,
    is_constant,
    is_flat,
    shape_of,
    wants_logarithm,
)
from motes.data.decimals import Decimals
from motes.data.frames import Series, Type
from motes.data.peaks import Opened, Peaks, often, peaks_of
from motes.errors import DataError

Array = NDArray[np.float64]

KINDS = 4  # whole numbers in a row that are rather kinds than counts, and become heaps apart
FEW = 32  # that become cells of their own
ROWS_EACH = 20  # rows for every number that comes up, on average, from which quantiles are to be trusted


@dataclass(frozen=True)
class Codec:
    """How one column is encoded.

    Attributes:
        column: its name.
        type: of the series that `decode` gives.
        cells: its values <-> numbers w.
        curve: w <-> y.
        ordered, days: of that series.
    """

    column: str
    type: Type
    cells: Reals | Opened | Decimals | Steps | Labels
    curve: Bijection
    ordered: bool = False
    days: bool = False

    def read(self, series: Series, name: str) -> NDArray[Any]:
        """The known cells in the form that `encode` takes, (m,).

        Raises:
            DataError: a cell that this column cannot hold; the message names its row.
        """
        check_finite(series, self.column, name)

        def refuse(place: int, expected: str) -> DataError:
            row = int(np.flatnonzero(~series.missing)[place])
            came = cell_at(series, row)
            came = f"'{came}'" if isinstance(came, str) else str(came)
            return DataError(f"{name}, row {row + 1}, column '{self.column}': {came} came; expected {expected}.")

        if series.missing.all():
            return np.zeros(0, np.float64 if isinstance(self.cells, Reals | Opened | Decimals) else np.int64)
        return self.cells.read(series, refuse)

    def encode(self, values: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Values and noise (m,) -> y and log |dy/dx|, the density of u in it, (m,) each."""
        w, log_wide = self.cells.spread(values, u)
        return self.curve.forward(w), self.curve.log_det(w) + log_wide

    def decode(self, y: Array, missing: NDArray[np.bool_]) -> Series:
        """Any y (n,) -> cells that training could have held."""
        return self._series(self.cells.gather(self.curve.inverse(np.where(missing, 0.0, y))), missing)

    def put(self, made: Series, given: Series, name: str) -> Series:
        """`made`, which `decode` gave, with the known cells of `given` in their places, to the bit.

        Raises:
            DataError: a cell that this column cannot hold; the message names its row.
        """
        known = self.cells.plain(self.read(given, name))
        if given.missing.all():
            return made
        whole = self._series(known, np.zeros(len(known), bool)).values
        values = np.array(made.values)
        values[~given.missing] = whole
        return replace(made, values=values, missing=made.missing & given.missing)

    def _series(self, values: NDArray[Any], missing: NDArray[np.bool_]) -> Series:
        if isinstance(self.cells, Labels):
            if self.type != "label":  # numbers that were taken for labels
                dtype = {"truth": np.bool_, "whole": np.int64}.get(self.type, np.float64)
                return Series(self.type, np.array(self.cells.labels, dtype)[values], missing)
            return Series("label", values, missing, self.cells.labels, self.ordered)
        dtype = {"real": np.float64, "truth": np.bool_}.get(self.type, np.int64)
        return Series(self.type, values.astype(dtype), missing, days=self.days)

    def between(self, low: Series | None, high: Series | None, name: str) -> tuple[float, float]:
        """The interval of y that the cells from low to high fill, both included; None: there is no such end.

        Args:
            low, high: series of length 1.
            name: what messages call the source.

        Raises:
            DataError: an end that this column cannot hold, or nothing between the two.
        """

        def refuse(place: int, expected: str) -> DataError:
            said = " to ".join("the end" if end is None else str(cell_at(end, 0)) for end in (low, high))
            came = str(cell_at(low, 0)) if low is not None and low is high else f"{said} was asked for"
            return DataError(f"{name}, column '{self.column}': {came}; expected {expected}.")

        w = np.array(self.cells.between(low, high, refuse))
        ends = np.isinf(w)
        with np.errstate(divide="ignore"):  # the ends of an interval are infinitely far for its bijection
            y = np.where(ends, w, self.curve.forward(np.where(ends, 1.0, w)))
        return float(y[0]), float(y[1])

    def moments(self, values: NDArray[Any]) -> tuple[float, float]:
        """Mean and standard deviation of y over values (m,) and over the noise."""
        if isinstance(self.curve, Cells):
            return 0.0, 1.0  # that is what they are for
        seen, counts = np.unique(values, return_counts=True)
        nodes, weights = np.polynomial.legendre.leggauss(8)
        share = counts / counts.sum()
        means, variances = np.zeros(len(nodes)), np.zeros(len(nodes))
        for i, node in enumerate(nodes):
            y, _ = self.encode(seen, np.full(len(seen), (1 + node) / 2))
            means[i] = share @ y
            variances[i] = share @ (y - means[i]) ** 2
        mean = weights @ means / 2
        return float(mean), float(np.sqrt(weights @ (variances + (means - mean) ** 2) / 2))

    @property
    def becomes(self) -> str:
        """In words, what the column is for the network."""
        if isinstance(self.curve, Cells):
            return f"{len(self.curve.edges) - 1} cells of a normal law"
        if isinstance(self.curve, Heaps):
            return f"{len(self.curve.edges) - 1} heaps apart"
        if isinstance(self.curve, Quantiles):
            return f"{self.cells.about}, quantiles"
        peaks = self.curve if isinstance(self.curve, Peaks) else None
        smooth = type(peaks.curve if peaks else self.curve)
        word = {Log: "logarithm", Logit: "logit", Asinh: "asinh", Softplus: "softplus"}.get(smooth, "")
        apart = f"{len(peaks.at)} value{'s' if len(peaks.at) > 1 else ''} apart" if peaks else ""
        return ", ".join(filter(None, (self.cells.about, word, apart))) or "as it is"


# --- fitting --------------------------------------------------------------------------------------------------------


def fit_codec(column: Column, series: Series, name: str) -> tuple[Codec, NDArray[Any]]:
    """The codec of a column that varies, and its known cells in the form that the codec encodes.

    Raises:
        DataError: cells that do not fit the column's kind; the message names the first.
    """
    fits = {
        "integer": _integer_codec,
        "boolean": _label_codec,
        "categorical": _label_codec,
        "ordered": _label_codec,
        "date": _date_codec,
    }
    codec = fits.get(column.kind, _real_codec)(column, series, name)
    return codec, codec.read(series, name)


# Kinds of real numbers without a bound: the curve of numbers, each in the middle of so wide a cell.
OPEN: dict[str, Callable[[Array, float], Bijection]] = {
    "real": lambda w, width: Identity(),
    "flat": Quantiles.flat,
    "heavy": lambda w, width: fit_asinh(w),
}


def _real_codec(column: Column, series: Series, name: str) -> Codec:
    codec = Codec(column.name, "real", Reals(), Identity())
    x = codec.read(series, name)
    if column.decimals is not None:
        return _decimal_codec(column, Decimals.of(x, column.decimals), series, name)
    ends = Reals() if column.kind in OPEN else _ends(column, x)
    at = often(x[(x > ends.low) & (x < ends.high)])
    cells: Reals | Opened = ends
    if len(at):
        cells = Opened.of(ends, at, x)
    w, _ = cells.spread(x, np.full(len(x), 0.5))
    others = w[~np.isin(x, at)]
    others = w if len(others) == 0 or is_constant(others) else others
    curve: Bijection
    if column.kind in OPEN:
        curve = OPEN[column.kind](others, 0.0)
    elif np.isinf(ends.high):
        curve = _curve_above(others, ends.low - ends.below, 0.0)
    else:
        opened = cells.width * len(at) if isinstance(cells, Opened) else 0.0
        curve = Logit(ends.low - ends.below, ends.high + ends.above + opened)
    if isinstance(cells, Opened):
        curve = Peaks.of(w, cells.starts, curve, cells.width)
    return replace(codec, cells=cells, curve=curve)


def _ends(column: Column, x: Array) -> Reals:
    """The interval of a column, with a sliver beyond an end that some rows hold."""
    low, high = column.low or 0.0, np.inf if column.high is None else column.high
    at_low, at_high = float((x == low).mean()), float((x == high).mean())
    inner = x[(x > low) & (x < high)]
    size = (np.median(inner) if len(inner) else 1.0) if np.isinf(high) else high - low
    # As wide as it is likely, in the units of what lies inside.
    return Reals(low, high, float(at_low * size), float(at_high * size))


def _decimal_codec(column: Column, decimals: Decimals, series: Series, name: str) -> Codec:
    unit = 10**decimals.places
    if column.kind == "positive":
        decimals = replace(decimals, first=0, bounded=True)
    if column.kind == "bounded":
        first, last = round((column.low or 0.0) * unit), round((1.0 if column.high is None else column.high) * unit)
        decimals = replace(decimals, first=first, bounded=True, count=last - first + 1)
    codec = Codec(column.name, "real", decimals, Identity())
    w, _ = decimals.spread(codec.read(series, name), np.full(len(series.known), 0.5))

    def smooth(w: Array) -> Bijection:
        if decimals.count is not None:
            return Logit(0.0, float(decimals.count))
        return _curve_above(w, 0.0, 1.0) if decimals.bounded else OPEN[column.kind](w, 1.0)

    k = np.floor(w).astype(np.int64)
    return replace(codec, curve=_grid_curve(k, smooth, bounded=decimals.bounded, count=decimals.count))


def _curve_above(w: Array, low: float, width: float) -> Bijection:
    """For numbers above `low`, each in the middle of so wide a cell."""
    if is_flat(w):
        return Quantiles.flat(w, width, low)
    return Log(low) if wants_logarithm(w - low) else Softplus(low, deviation(w) / 2)


def _grid_curve(
    k: NDArray[np.int64], smooth: Callable[[Array], Bijection], *, bounded: bool, count: int | None
) -> Bijection:
    """For whole numbers k (n,), `bounded` from 0 on, and below `count`: where each comes up often, their quantiles.

    Otherwise `smooth`, which makes a curve for numbers in the middle of their cells, with peaks where there are some.
    """
    if len(np.unique(k)) * ROWS_EACH <= len(k):
        return Quantiles.of(k, bounded=bounded, count=count)
    at = peaks_of(k)
    others = k[~np.isin(k, at)]
    if is_constant(others):
        at, others = at[:0], k
    curve = smooth(np.asarray(others + 0.5, np.float64))
    return Peaks.of(np.asarray(k + 0.5, np.float64), at.astype(np.float64), curve) if len(at) else curve


def _integer_codec(column: Column, series: Series, name: str) -> Codec:
    whole = Codec(column.name, series.type, Steps(0, 1, None, True, False), Identity())
    x = whole.read(series, name)
    seen = np.unique(x)
    low = int(seen[0] if column.low is None else column.low)
    high = int(seen[-1] if column.high is None else column.high)
    step = column.step or common_step(x, np.union1d(seen, [low, high]))
    count = (high - low) // step + 1
    if count <= FEW or column.high is not None:
        cells = Steps(low, step, count, False, False)
    elif column.low is not None or low < 0:
        cells = Steps(low, step, None, column.low is None, False)
    else:
        cells = Steps(low % step, step, None, False, False)  # none is below 0, and none shall be
    codec = replace(whole, cells=cells)
    return replace(codec, curve=_integer_curve(cells, codec.read(series, name)))


def _integer_curve(cells: Steps, k: NDArray[Any]) -> Bijection:
    if cells.count is not None and cells.count <= FEW:
        # Half a row for each number that lies between others and was not seen.
        counts = np.maximum(np.bincount(k, minlength=cells.count), 0.5)
        return (Heaps if cells.count <= KINDS else Cells).of(counts)

    def smooth(w: Array) -> Bijection:
        if cells.count is not None:
            return Logit(0.0, float(cells.count))
        if not cells.both_ways:
            return _curve_above(w, 0.0, 1.0)
        if is_flat(w):
            return Quantiles.flat(w, 1.0)
        return fit_asinh(w) if shape_of(w)[1] > HEAVY else Identity()

    return _grid_curve(k, smooth, bounded=not cells.both_ways, count=cells.count)


def _date_codec(column: Column, series: Series, name: str) -> Codec:
    fine = Codec(column.name, "date", Steps(0, 1, None, True, True), Identity(), days=series.days)
    x = fine.read(series, name)
    step = next((unit for unit, _ in UNITS if not (x % unit).any()), 1)
    coarse = replace(fine, cells=Steps(int(x.min()), step, None, True, True))
    w = coarse.read(series, name) + 0.5
    return replace(coarse, curve=Quantiles.flat(w, 1.0)) if is_flat(w) else coarse


def _label_codec(column: Column, series: Series, name: str) -> Codec:
    if series.type == "date":
        raise DataError(f"column '{column.name}' of {name} holds dates; expected labels. Set its kind to \"date\".")
    if series.type == "label":
        seen = [series.labels[code] for code in np.unique(series.known)]
    else:
        seen = np.unique(series.known).tolist()
    if column.order is not None:
        seen = [label for label in column.order if label in seen]
    if column.kind == "boolean" and len(seen) != 2:
        raise DataError(f"column '{column.name}' of {name} has {len(seen)} values; a boolean column has two.")
    codec = Codec(column.name, series.type, Labels(tuple(seen)), Identity(), ordered=series.ordered)
    counts = np.bincount(codec.read(series, name), minlength=len(seen))
    return replace(codec, curve=(Cells if column.kind == "ordered" else Heaps).of(counts))
