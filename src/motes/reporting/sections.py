"""The sections of the report on a table, each as a list of elements; an empty list where there is nothing to say."""

import numpy as np

from motes.evaluation.results import Metric
from motes.evaluation.table_results import OF_COLUMNS, ColumnResult, Judgement, TableEvaluation, number
from motes.evaluation.verdicts import GOOD
from motes.reporting import charts
from motes.reporting.charts import Mark
from motes.reporting.elements import Child, Html, classed, element, table
from motes.reporting.words import EXPLAINED, LEVELS

TELLING_SHOWN = 10
BINS = 30


def columns(found: TableEvaluation) -> list[Child]:
    """A table of all columns, and a picture of each."""
    tops = [c.distance.metric.high for c in found.columns if c.distance is not None]
    top = max([*tops, 0.05])
    head = ("column", "kind", "distance", "95 % interval", "real draw", "W1", "missing (real)", "verdict")
    rows = [_column(column, top) for column in found.columns]
    pictures = [_card(column) for column in found.columns]
    judged = found.judgements
    return [
        _said(judged["columns"]),
        *([_said(gaps, OF_COLUMNS["missing"])] if (gaps := judged.get("missing")) and gaps.level != "good" else []),
        _explained("columns"),
        table("Distances of single columns, with 95 % intervals; the tick is the distance of a real draw.", head, rows),
        _legend(),
        classed("div", "grid", *pictures),
    ]


def _column(column: ColumnResult, top: float) -> list[Child]:
    distance: list[Child] = ["no cells", "", ""]
    if column.distance is not None:
        metric, floor = column.distance.metric, column.distance.floor
        said = f"{metric.value:.3f}, from {metric.low:.3f} to {metric.high:.3f}; real draw {floor.value:.3f}"
        distance = [f"{metric.value:.3f}", charts.interval(_mark("", metric, column.judgement.level), floor, top, said),
                    f"{floor.value:.3f}"]  # fmt: skip
    made, real = column.missing
    missing = "none" if made == real == 0 else f"{made:.1%} ({real:.1%})"
    judged = [one for one in (column.judgement, column.missing_judgement) if one.level != "good"]
    said_of = [_judged(one) for one in judged] or [_judged(column.judgement)]
    w1 = "-" if column.w1 is None else f"{column.w1:.3f}"
    return [column.name, column.kind, *distance, w1, missing, Html("; ".join(said_of))]


def _card(column: ColumnResult) -> Html:
    bars = column.bars
    if bars is None:
        return Html("")
    if bars.edges is not None:
        said = f"Histograms of {column.name}: {_centres(column)}."
        picture = charts.histogram(bars.real, bars.made, bars.edges, said, dates=column.kind == "date")
    else:
        shares = "; ".join(
            f"{label} {real:.1%} and {made:.1%}"
            for label, real, made in zip(bars.labels, bars.real, bars.made, strict=True)
        )
        said = f"Shares of {column.name}, real and made: {shares}."
        picture = charts.label_bars(bars.labels, bars.real, bars.made, said)
    under = [_judged(column.judgement)] if column.judgement.level != "good" else []
    return classed(
        "figure", "card", element("h3", column.name), element("p", *(under or [_soft(_centres(column))])), picture
    )


def _centres(column: ColumnResult) -> str:
    if column.centre is None:
        return column.kind
    (mean, deviation), (real_mean, real_deviation) = column.centre
    names = "median {} ± {}" if column.kind == "heavy" else "mean {} ± {}"
    if column.kind == "date":
        day = 86_400e6
        shown = [(str(np.datetime64(int(m), "us").astype("M8[D]")), f"{d / day:.0f} days")
                 for m, d in ((real_mean, real_deviation), (mean, deviation))]  # fmt: skip
    else:
        shown = [(number(m), number(d)) for m, d in ((real_mean, real_deviation), (mean, deviation))]
    real, made = (names.format(*pair) for pair in shown)
    return f"real {real}, made {made}"


def associations(found: TableEvaluation) -> list[Child]:
    """Three heat maps and the pairs that differ most."""
    made = found.associations
    if made is None:
        return []
    gaps = np.nan_to_num(np.abs(made.made - made.real))
    shown = np.arange(len(made.names))
    left_out = ""
    if len(shown) > charts.MOST_CELLS:
        shown = np.sort(np.argsort(-gaps.max(axis=1), kind="stable")[: charts.MOST_CELLS])
        left_out = f" The {charts.MOST_CELLS} columns that differ most are shown, of {len(made.names)}."
    names, square = [made.names[j] for j in shown], np.ix_(shown, shown)
    worst = "; ".join(f"{a} and {b}: {real:.2f} and {ours:.2f}" for a, b, real, ours, _ in made.largest)
    matrices = {"real rows": made.real, "made rows": made.made, "made − real": made.made - made.real}
    maps = [
        classed("figure", "card", element("h3", title), charts.heat_map(values[square], names, f"{title}. {worst}."))
        for title, values in matrices.items()
    ]
    rows = [[f"{a}, {b}", f"{real:.2f}", f"{ours:.2f}", f"{p:.2g}"] for a, b, real, ours, p in made.largest]
    metric, floor = made.difference.metric, made.difference.floor
    return [
        _said(made.judgement),
        _explained("associations", left_out),
        classed("div", "grid", *maps),
        charts.legend(("plus-key", "above 0"), ("minus-key", "below 0; the stronger the colour, the more")),
        table("Pairs of columns that differ most; p is over all pairs together.", ("pair", "real", "made", "p"), rows),
        _soft_p(
            f"On average over all pairs the associations are {metric.value:.3f} apart "
            f"({metric.low:.3f} to {metric.high:.3f}); those of a real draw {floor.value:.3f}."
        ),
    ]


def classifier(found: TableEvaluation) -> list[Child]:
    """How often it is right, beside a real draw, and by which columns."""
    telling = found.telling
    metric, floor = telling.accuracy.metric, telling.accuracy.floor
    given = [_mark("made rows", metric, telling.judgement.level), _mark("a real draw", floor, "real")]
    low = min(0.45, floor.low, metric.low)
    said = f"Accuracy {metric.value:.3f}, from {metric.low:.3f} to {metric.high:.3f}; a real draw {floor.value:.3f}."
    parts: list[Child] = [
        _said(telling.judgement),
        _explained("classifier"),
        charts.marks(given, low, max(1.0, metric.high), said, centre=0.5),
    ]
    shown = [(name, fall) for name, fall in telling.columns[:TELLING_SHOWN] if fall > 0]
    if shown and telling.judgement.level != "good":
        listed = "; ".join(f"{name} {100 * fall:.1f}" for name, fall in shown)
        parts += [
            element("h3", "The most telling columns"),
            _soft_p("Of 100 cases so many fewer are right when the cells of the column are shuffled."),
            charts.bars([name for name, _ in shown], [fall for _, fall in shown], f"Most telling columns: {listed}."),
        ]
    return parts


def usefulness(found: TableEvaluation) -> list[Child]:
    """Scores of models trained on made and on real rows."""
    if found.usefulness is None:
        return []
    use, judgement = found.usefulness
    chance = 0.5 if use.score == "AUC" else 0.0
    low = min(chance, use.made.low, use.real.low)
    said = f"{use.score} of '{use.target}': {use.made.value:.3f} from made rows, {use.real.value:.3f} from real ones."
    given = [_mark("trained on made rows", use.made, "made"), _mark("trained on real rows", use.real, "real")]
    name = "area under the ROC curve" if use.score == "AUC" else "R²"
    rows: list[list[Child]] = [[name, f"{use.made.value:.3f}", f"{use.real.value:.3f}"]]
    rows += [[key, f"{ours:.3f}", f"{theirs:.3f}"] for key, (ours, theirs) in use.more.items()]
    kept = ""
    if use.kept is not None:
        between = f"({use.kept.low:.2f} to {use.kept.high:.2f})"
        kept = f" Of what real rows teach beyond chance, made rows keep {use.kept:.2f} {between}."
    return [
        _said(judgement),
        _explained("usefulness", f" The target is {use.target}.{kept}"),
        charts.marks(given, low, max(1.0, use.made.high, use.real.high), said, centre=chance),
        table(
            f"Scores on {use.rows[1]:,} held-out rows, of models trained on {use.rows[0]:,} rows.",
            ("score", "trained on made rows", "trained on real rows"),
            rows,
        ),
    ]


def likelihood(found: TableEvaluation) -> list[Child]:
    """Held-out beside training rows."""
    if (like := found.likelihood) is None:
        return []
    given = [_mark("held-out rows", like.held_out, "real"), _mark("training rows", like.training, "made")]
    low, high = min(m.low for m in given), max(m.high for m in given)
    room = 0.1 * (high - low) or 1.0
    said = f"Nats per row: held out {like.held_out.value:.4g}, training {like.training.value:.4g}."
    parts: list[Child] = [
        _said(like.judgement),
        _explained("likelihood"),
        charts.marks(given, low - room, high + room, said),
        _soft_p(f"Training less held out: {like.gap.value:.3g} nats ({like.gap.low:.3g} to {like.gap.high:.3g})."),
    ]
    if any(like.impossible):
        held_out, training = like.impossible
        parts.append(
            _soft_p(
                f"{held_out:,} held-out and {training:,} training rows are impossible to the model; the means leave "
                "them out."
            )
        )
    return parts


def privacy(found: TableEvaluation) -> list[Child]:
    """Distances to the closest training row, near rows and copies."""
    private = found.privacy
    near, (copies, n), (real_copies, m) = private.closeness.near, private.copies, private.real_copies
    made, real = private.closeness.made, private.closeness.held_out
    top = max(float(np.quantile(np.concatenate([made, real]), 0.995)), 1e-12)
    edges = np.linspace(0, top, BINS + 1)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (real, made)]
    quantiles = private.closeness.quantiles()
    listed = "; ".join(f"{name} {theirs:.3g} and {ours:.3g}" for name, (ours, theirs) in quantiles.items())
    picture = charts.histogram(
        shares[0], shares[1], edges, f"Distances to the closest training row, real and made: {listed}."
    )
    rows: list[list[Child]] = [[f"distance, {name}", number(ours), number(theirs)]
                               for name, (ours, theirs) in quantiles.items()]  # fmt: skip
    rows += [
        ["nearer than 95 % of the held-out rows", f"{near.value:.1%} ({near.low:.1%} to {near.high:.1%})", "5.0%"],
        ["exact copies of a training row", f"{copies:,} of {n:,}", f"{real_copies:,} of {m:,}"],
    ]
    return [
        _said(private.judgement),
        _explained("privacy"),
        _legend(),
        classed("figure", "card half", picture),
        table(
            "Made rows and held-out rows beside the rows of the training.",
            ("measure", "made rows", "held-out rows"),
            rows,
        ),
    ]


# --- small parts ----------------------------------------------------------------------------------------------------


def _legend() -> Html:
    return charts.legend(("real-key", "real rows, held out"), ("made-key", "made rows"))


def _mark(label: str, metric: Metric, colour: str) -> Mark:
    return Mark(label, metric.value, metric.low, metric.high, colour)


def _judged(one: Judgement) -> Html:
    if one.level == "good":
        return element("span", one.words)
    return classed("span", one.level, one.words)


def _said(one: Judgement, of: str = "") -> Html:
    if one.words == GOOD:
        return classed("p", "said", classed("span", one.level, f"{GOOD.capitalize()}."))
    return classed("p", "said", classed("span", one.level, f"{LEVELS[one.level].capitalize()}: "), f"{of}{one.words}.")


def _explained(key: str, more: str = "") -> Html:
    return classed("p", "soft", EXPLAINED[key] + more)


def _soft(words: str) -> Html:
    return classed("span", "soft", words)


def _soft_p(words: str) -> Html:
    return classed("p", "soft", words)
