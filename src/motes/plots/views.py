"""The content of a report in the form that its templates use: rows of tables, pictures and captions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from motes.data.readings import default_columns
from motes.evaluation import Metric
from motes.evaluation.associations import AssociationResult
from motes.evaluation.points import PointColumn, PointDetails
from motes.evaluation.privacy import ClosestRecords, Copies, Utility
from motes.evaluation.results import Array, Entry, Sides, Verdict, between, number, shown
from motes.evaluation.tables import ClassifierResult, ColumnResult, Likelihoods
from motes.plots import svg
from motes.rasters import density_difference, limits_of


def two(value: float, sign: str = "") -> str:
    """Format with two decimals; a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:{sign}.2f}"


def three(value: float | None) -> str:
    """Format with three decimals; a dash for None."""
    return "-" if value is None else f"{value:.3f}"


Quantiles = tuple[str, str, list[tuple[str, bool]]]

IMPORTANT_SHOWN = 10
BINS = 30


class Line(NamedTuple):
    """A column in the table of all columns; `picture` is the interval of its difference."""

    column: ColumnResult
    between: str
    picture: Markup
    distance: str
    missing: str
    verdicts: list[Verdict]


class Card(NamedTuple):
    """A picture with its title, caption, and verdict if it is worth showing."""

    title: str
    verdict: Verdict | None
    caption: str
    picture: Markup


def lines(columns: tuple[ColumnResult, ...]) -> Iterator[Line]:
    """Yield a line of the table for each column, with all intervals on one scale."""
    gaps = [abs(end) for c in columns if c.contrast for end in (c.contrast.low, c.contrast.high)]
    reach = max([*gaps, 0.01])
    for column in columns:
        _, _, distance, reference, between, _, missing, _ = column.line
        picture = Markup("")
        if (one := column.contrast) is not None:
            mark = svg.Mark("", one.difference, one.low, one.high, column.verdict.severity)
            picture = svg.inline([mark], -reach, reach, f"{one.text}: {between}", centre=0.0)
        differing = [one for one in (column.verdict, column.missing_verdict) if one is not None and one.differs]
        far = "-" if column.distance is None else f"{distance} ({reference})"
        yield Line(column, between, picture, far, missing, differing or [column.verdict])


def cards(columns: tuple[ColumnResult, ...]) -> Iterator[Card]:
    """Yield a picture of each column that has entries."""
    for column in columns:
        if (bars := column.bars) is None:
            continue
        moments = _moments(column)
        if bars.edges is not None and bars.ends is not None:
            low, high = (shown(column.kind, end) for end in bars.ends)
            said = f"Histograms of {column.name} from {low} to {high}. {moments}."
            dates = bars.ends if column.kind == "date" else None
            picture = svg.histogram(bars.real, bars.synthetic, bars.edges, said, places=bars.places, dates=dates)
        else:
            shares = "; ".join(
                f"{label} {theirs:.1%} and {ours:.1%}"
                for label, theirs, ours in zip(bars.labels, bars.real, bars.synthetic, strict=True)
            )
            said = f"Shares of {column.name}, real and synthetic: {shares}."
            both = (("real-bar", bars.real), ("synthetic-bar", bars.synthetic))
            groups = [(colour, values.tolist(), [f"{one:.1%}" for one in values]) for colour, values in both]
            picture = svg.bars(bars.labels, groups, said)
        yield Card(column.name, column.verdict if column.verdict.differs else None, moments, picture)


def _moments(column: ColumnResult) -> str:
    if column.moments is None:
        return column.kind
    texts = []
    for name, (mean, deviation) in zip(("synthetic", "real"), column.moments, strict=True):
        if column.kind == "date":
            day = str(np.datetime64(round(mean), "us").astype("M8[D]"))
            texts.append(f"{name} mean {day} (standard deviation {number(deviation / 86_400e6)} days)")
        else:
            texts.append(f"{name} mean {number(mean)} (standard deviation {number(deviation)})")
    return "; ".join(reversed(texts))


def quantiles(columns: Sequence[ColumnResult | PointColumn]) -> list[Quantiles]:
    """Return a line for real and one for synthetic rows of each column: its name, the kind of rows, and quantiles.

    Each quantile comes with whether it is beyond the range of the real rows.
    """
    lines = list[Quantiles]()
    for column in columns:
        if column.quantiles is not None:
            (ours, theirs), kind = column.quantiles, column.kind
            lines.append((column.name, "real", [(shown(kind, q), False) for q in theirs]))
            beyond = [(shown(kind, q), q < theirs[0] or q > theirs[-1]) for q in ours]
            lines.append((column.name, "synthetic", beyond))
    return lines


def maps(pairs: AssociationResult) -> tuple[Markup, Markup, Markup, str]:
    """Return matrices of associations: the difference, real rows, synthetic rows; and a note on omitted columns.

    If there are too many columns for a picture, the columns that differ most are shown.
    """
    ours, theirs = pairs.synthetic, pairs.real
    gaps = np.nan_to_num(np.abs(ours - theirs))
    chosen, left_out = np.arange(len(pairs.names)), ""
    if len(chosen) > svg.MOST_ROWS:
        chosen = np.sort(np.argsort(-gaps.max(axis=1), kind="stable")[: svg.MOST_ROWS])
        left_out = f" The {svg.MOST_ROWS} of {len(pairs.names)} columns that differ most are shown."
    names, square = [pairs.names[j] for j in chosen], np.ix_(chosen, chosen)
    worst = "; ".join(f"{' and '.join(p.columns)}: {p.synthetic:.2f}, real {p.real:.2f}" for p in pairs.largest)

    def drawn(title: str, values: Array) -> Markup:
        return svg.heat_map(values[square], names, f"{title}. {worst}.")

    gap = (ours - theirs)[square]
    difference = svg.heat_map(gap, names, f"Differences of associations. {worst}.", differences=True)
    return difference, drawn("Real rows", theirs), drawn("Synthetic rows", ours), left_out


Marks = tuple[Markup, str]  # values with intervals on one axis, and the sentence that says the same


def accuracy(result: ClassifierResult, verdict: Verdict) -> Marks:
    """Draw the classifier's accuracy next to its reference value."""
    said = f"{result.text.splitlines()[0]}."  # the columns have their own picture
    return _compare(said, result.accuracy, result.reference_value, verdict.severity, centre=0.5, least=0.45)


def _compare(said: str, ours: Metric, theirs: Metric, colour: str, *, centre: float, least: float) -> Marks:
    """Draw a value for synthetic rows next to the same for training rows, on an axis from `least` to 1 or further."""
    given = [_mark("synthetic rows", ours, colour), _mark("training rows", theirs, "real")]
    low, high = min(least, ours.low, theirs.low), max(1.0, ours.high)
    return svg.marks(given, low, high, said, centre=centre), said


def importance(result: ClassifierResult, verdict: Verdict) -> Markup | None:
    """Draw the permutation importance of the most discriminative columns; None if no difference was found."""
    important = [(name, value) for name, value in [*result.importance.items()][:IMPORTANT_SHOWN] if value > 0]
    if not important or not verdict.differs:
        return None
    said = "; ".join(f"{name} {100 * value:.1f}" for name, value in important)
    names, values = zip(*important, strict=True)
    group = ("synthetic-bar", values, [f"{100 * value:.1f}" for value in values])
    return svg.bars(names, [group], f"Importance: {said}.", width=svg.WIDE)


def scores(use: Utility) -> Marks:
    """Draw the scores of models trained on synthetic and on real rows."""
    chance = 0.5 if use.score == "AUC" else 0.0
    return _compare(f"{use.text}.", use.synthetic, use.real, "synthetic", centre=chance, least=chance)


def likelihoods(like: Likelihoods) -> Marks:
    """Draw the log-likelihood of held-out next to training rows."""
    assert like.held_out is not None and like.training is not None and like.difference is not None
    given = [_mark("held-out rows", like.held_out, "real"), _mark("training rows", like.training, "synthetic")]
    low, high = min(m.low for m in given), max(m.high for m in given)
    room = 0.1 * (high - low) or 1.0
    return svg.marks(given, low - room, high + room, like.text), f"{like.text}."


def distances(records: ClosestRecords) -> tuple[Markup, list[tuple[str, str, str]]]:
    """Return a histogram of the distances to the closest training row, and the lines of their table."""
    both = np.concatenate([records.synthetic, records.held_out])
    edges = np.linspace(0, max(float(both.max()), 1e-12), BINS + 1)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (records.held_out, records.synthetic)]
    found = records.quantiles
    said = "; ".join(f"{name} {theirs:.3g} and {ours:.3g}" for name, (ours, theirs) in found.items())
    about = f"Distances to the closest training row, held-out and synthetic: {said}."
    picture = svg.histogram(shares[0], shares[1], edges, about)
    share = records.share
    rows = [(f"distance, {name}", number(ours), number(theirs)) for name, (ours, theirs) in found.items()]
    between = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
    return picture, [*rows, ("DCR share (interval)", between, "5.0% (neutral)")]


def copies(found: Copies) -> list[tuple[str, str, str, str]]:
    """Return the lines of the table of copies."""
    counts = {
        "synthetic rows that equal a training row": found.synthetic,
        "held-out rows that equal a training row": found.held_out,
        "training rows that equal another": found.repeated,
    }
    return [
        (name, f"{count:,}", f"{total:,}", f"{count / total:.2%}" if total else "-")
        for name, (count, total) in counts.items()
    ]


def known_values(found: Mapping[str, Sides]) -> list[tuple[str, str, str]]:
    """Return the lines of the table of real values in columns of ids and personal data."""
    return [(name, str(both.synthetic), str(both.real)) for name, both in found.items()]


def _mark(label: str, metric: Metric, colour: str) -> svg.Mark:
    return svg.Mark(label, metric.value, metric.low, metric.high, colour)


# --- points -----------------------------------------------------------------------------------------------------------

SHOWN = 2000  # points of each set in a picture
CELLS = 48  # cells per side of the map of differences


def beside(entry: Entry) -> Markup:
    """Draw the value of an entry above its reference value and the range of chance."""
    value, reference = entry.value, entry.reference_value
    assert value is not None and reference is not None and entry.chance is not None  # always set for points
    said = f"{entry.name}: {number(value)}, two real draws {number(reference)}, by chance {between(entry.chance)}."
    low, high = entry.chance
    low = low if np.isfinite(low) else min(value, reference)
    high = high if np.isfinite(high) else max(value, reference)
    both = [svg.Mark("", value, value, value, entry.verdict.severity), svg.Mark("", reference, low, high, "real")]
    return svg.inline(both, min(low, value, reference), max(high, value, reference), said)


def clouds(found: PointDetails) -> list[Card]:
    """Return pictures of real and synthetic points on the same axes; none unless there are two columns."""
    if found.synthetic is None or found.real is None:
        return []
    plane = tuple(column.name for column in found.columns) == default_columns(2)  # both axes share a unit
    limits = limits_of(found.synthetic, found.real, robust=0.0, equal=plane)
    low, high = np.array(limits).T
    names = f"{found.columns[0].name} across, {found.columns[1].name} up"
    cards = []
    for points, colour in ((found.real, "real"), (found.synthetic, "synthetic")):
        title = f"{colour.capitalize()} points"
        some = points[:SHOWN]
        picture = svg.cloud(some, low, high, colour, f"{title}: {names}.")
        shown = f"{len(some):,} of {len(points):,} points" if len(some) < len(points) else f"{len(points):,} points"
        cards.append(Card(title, None, f"{shown}; {names}", picture))
    share, chance = density_difference(found.synthetic, found.real, limits, CELLS)
    said = f"Synthetic minus real density of all points, relative to the highest real density: {share.min():.2f} to "
    said += f"{share.max():.2f}; by chance up to ± {chance:.2g}."
    cards.append(Card("Difference of the densities", None, said, svg.difference_map(share, low, high, said)))
    return cards


def marginals(found: PointDetails) -> Iterator[Card]:
    """Yield a histogram of each column."""
    for column in found.columns:
        bars = column.bars
        assert bars.edges is not None  # of numbers
        ours, theirs = column.quantiles
        said = f"real median {number(theirs[2])}; synthetic median {number(ours[2])}"
        about = f"Histograms of {column.name}: {said}."
        picture = svg.histogram(bars.real, bars.synthetic, bars.edges, about, places=bars.places)
        yield Card(column.name, None, said, picture)
