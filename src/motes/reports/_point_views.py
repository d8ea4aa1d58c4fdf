"""What the page on points shows, as the templates take it: pictures and their captions."""

from collections.abc import Iterator

import numpy as np
from markupsafe import Markup

from motes.data._text_lines import default_columns
from motes.evaluation._entries import Entry
from motes.evaluation._excess import ExcessLoss
from motes.evaluation._points import PointDetails
from motes.evaluation._text import between, number
from motes.figures._arrays import density_difference, limits_of
from motes.reports import _charts as charts
from motes.reports import _planes as planes
from motes.reports._charts import Mark
from motes.reports._table_views import Card

SHOWN = 2000  # points of each set in a picture
CELLS = 48  # of a side of the map of differences


def beside(entry: Entry) -> Markup:
    """The value of an entry above its reference value, with the range of chance."""
    value, reference = entry.value, entry.reference_value
    assert value is not None and reference is not None and entry.chance is not None  # points have all of them
    said = (
        f"{entry.name}: {number(value)}, between two real draws {number(reference)}, by chance {between(entry.chance)}."
    )
    low, high = entry.chance
    low = low if np.isfinite(low) else min(value, reference)
    high = high if np.isfinite(high) else max(value, reference)
    mark = Mark("", value, value, value, entry.verdict.severity)
    return charts.versus(mark, Mark("", reference, low, high, "real"), said)


def clouds(found: PointDetails) -> list[Card]:
    """Real and synthetic points of the plane on the same axes; nothing for other than two columns."""
    if found.synthetic is None or found.real is None:
        return []
    plane = tuple(column.name for column in found.columns) == default_columns(2)  # whose axes share a unit
    limits = limits_of(found.synthetic, found.real, robust=0.0, equal=plane)
    low, high = np.array(limits).T
    names = f"{found.columns[0].name} across, {found.columns[1].name} up"
    cards = []
    for points, colour in ((found.real, "real"), (found.synthetic, "synthetic")):
        title = f"{colour.capitalize()} points"
        some = points[:SHOWN]
        picture = planes.cloud(some, low, high, colour, f"{title}: {names}.")
        shown = f"{len(some):,} of {len(points):,} points" if len(some) < len(points) else f"{len(points):,} points"
        cards.append(Card(title, None, f"{shown}; {names}", picture))
    share, chance = density_difference(found.synthetic, found.real, limits, CELLS)
    said = (
        f"Synthetic minus real density, of all points, as a share of the highest real one: from {share.min():.2f} to "
    )
    said += f"{share.max():.2f}; by chance up to ± {chance:.2g}."
    cards.append(Card("Difference of the densities", None, said, planes.difference_map(share, low, high, said)))
    return cards


def marginals(found: PointDetails) -> Iterator[Card]:
    """A histogram of each column."""
    for column in found.columns:
        bars = column.bars
        assert bars.edges is not None  # of numbers
        ours, theirs = column.quantiles
        said = f"real median {number(theirs[2])}; synthetic median {number(ours[2])}"
        picture = charts.histogram(
            bars.real, bars.synthetic, bars.edges, f"Histograms of {column.name}: {said}.", places=bars.places
        )
        yield Card(column.name, None, said, picture)


def losses(found: ExcessLoss) -> list[Card]:
    """The network's loss beside the irreducible one, and what is between them, by noise level."""
    levels = f"at noise levels from {found.noise[0]:.2g} to {found.noise[-1]:.2g}"
    both = [(found.least, "real"), (found.loss, "synthetic")]
    return [
        Card(
            "Loss by noise level",
            None,
            "Squared error of the noise, the sum over columns, by noise level sigma/alpha.",
            charts.curves(found.noise, both, f"The irreducible loss and that of the network, {levels}."),
        ),
        Card(
            "Excess loss by noise level",
            None,
            f"The loss above the irreducible one. It is largest at noise level {found.worst:.2g}.",
            charts.curves(found.noise, [(found.excess, "synthetic")], f"The excess loss, {levels}."),
        ),
    ]
