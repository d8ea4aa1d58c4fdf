"""The sections of the report on a table, each as a list of elements; an empty list where there is nothing to say."""

import numpy as np

from motes.evaluation.results import Metric
from motes.evaluation.table_results import ColumnResult, TableEvaluation, Verdict, number, shown
from motes.reporting import charts
from motes.reporting.charts import Mark
from motes.reporting.elements import Child, Html, classed, element, table
from motes.reporting.words import EXPLAINED, LEVELS

IMPORTANT_SHOWN = 10
BINS = 30


def columns(found: TableEvaluation) -> list[Child]:
    """A table of all columns, a picture of each, and quantiles."""
    gaps = [abs(end) for c in found.columns if c.contrast for end in (c.contrast.low, c.contrast.high)]
    reach = max([*gaps, 0.01])
    head = ("column", "difference of a share (95 % interval)", "p", "distance (by chance)", "W1", "missing (real)",
            "verdict")  # fmt: skip
    missing = found.verdicts.get("missing")
    return [
        _said(found.verdicts["columns"]),
        *([_said(missing, "Missing entries: ")] if missing is not None and missing.differs else []),
        _explained("columns"),
        table(
            "Differences between synthetic and real rows, column by column; p is adjusted for all tests.",
            head,
            [_column(column, reach) for column in found.columns],
        ),
        _legend(),
        classed("div", "grid", *(_card(column) for column in found.columns)),
        *_quantiles(found),
    ]


def _column(column: ColumnResult, reach: float) -> list[Child]:
    contrast = column.contrast
    difference: Child = "-"
    if contrast is not None:
        gap, low, high = contrast.difference, contrast.low, contrast.high
        said = f"{contrast.text}: {gap:+.3f} ({low:+.3f} to {high:+.3f})"
        mark = Mark("", gap, low, high, column.verdict.level)
        between = classed("span", "kind nowrap", f"{gap:+.3f} ({low:+.3f} to {high:+.3f})")
        difference = Html(element("span", contrast.text) + between + charts.interval(mark, reach, said))
    ours, theirs = column.missing
    missing = "none" if ours == theirs == 0 else f"{ours:.1%} ({theirs:.1%})"
    told = [one for one in (column.verdict, column.missing_verdict) if one is not None and one.differs]
    verdict = Html("; ".join(_graded(one) for one in told)) if told else _graded(column.verdict)
    name = Html(element("span", column.name) + classed("span", "kind", column.kind))
    distance = "-" if column.distance is None else f"{_three(column.distance)} ({_three(column.by_chance)})"
    return [name, difference, _nowrap(_p(column.verdict.p_value)), _nowrap(distance), _three(column.w1), missing,
            verdict]  # fmt: skip


def _card(column: ColumnResult) -> Html:
    bars = column.bars
    if bars is None:
        return Html("")
    if bars.edges is not None:
        said = f"Histograms of {column.name} from {shown(column.kind, float(bars.edges[0]))} to "
        said += f"{shown(column.kind, float(bars.edges[-1]))}. {_moments(column)}."
        picture = charts.histogram(
            bars.real, bars.synthetic, bars.edges, said, places=bars.places, dates=column.kind == "date"
        )
    else:
        shares = "; ".join(
            f"{label} {theirs:.1%} and {ours:.1%}"
            for label, theirs, ours in zip(bars.labels, bars.real, bars.synthetic, strict=True)
        )
        said = f"Shares of {column.name}, real and synthetic: {shares}."
        picture = charts.label_bars(bars.labels, bars.real, bars.synthetic, said)
    under = [element("p", _graded(column.verdict))] if column.verdict.differs else []
    return classed("figure", "card", element("h3", column.name), *under, element("p", _soft(_moments(column))), picture)


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


def _quantiles(found: TableEvaluation) -> list[Child]:
    rows: list[list[Child]] = []
    for column in found.columns:
        if column.quantiles is None:
            continue
        ours, theirs = column.quantiles
        rows.append([column.name, "real", *(shown(column.kind, value) for value in theirs)])
        beyond = [value < theirs[0] or value > theirs[-1] for value in ours]
        rows.append([column.name, "synthetic", *(
            classed("span", "beyond", shown(column.kind, value)) if out else shown(column.kind, value)
            for value, out in zip(ours, beyond, strict=True)
        )])  # fmt: skip
    if not rows:
        return []
    head = ("column", "rows", "minimum", "lower quartile", "median", "upper quartile", "maximum")
    return [
        element("h3", "Quantiles"),
        _explained("quantiles"),
        table("Numbers beyond the range of the real rows are marked.", head, rows),
    ]


def associations(found: TableEvaluation) -> list[Child]:
    """A matrix of differences, two of associations, and the pairs that differ most."""
    pairs = found.associations
    if pairs is None:
        return []
    gaps = np.nan_to_num(np.abs(pairs.synthetic - pairs.real))
    chosen = np.arange(len(pairs.names))
    left_out = ""
    if len(chosen) > charts.MOST_ROWS:
        chosen = np.sort(np.argsort(-gaps.max(axis=1), kind="stable")[: charts.MOST_ROWS])
        left_out = f" The {charts.MOST_ROWS} columns that differ most are shown, of {len(pairs.names)}."
    names, square = [pairs.names[j] for j in chosen], np.ix_(chosen, chosen)
    worst = "; ".join(f"{' and '.join(p.columns)}: {p.synthetic:.2f}, real {p.real:.2f}" for p in pairs.largest)
    difference = charts.heat_map(
        (pairs.synthetic - pairs.real)[square], names, f"Differences of associations. {worst}.", differences=True
    )
    maps = [
        classed("figure", "card", element("h3", title), charts.heat_map(values[square], names, f"{title}. {worst}."))
        for title, values in (("Real rows", pairs.real), ("Synthetic rows", pairs.synthetic))
    ]
    rows: list[list[Child]] = [
        [", ".join(p.columns), _two(p.synthetic), _two(p.real), _two(p.synthetic - p.real, "+"),
         f"{_two(p.low, '+')} to {_two(p.high, '+')}", _p(p.p_value)]
        for p in pairs.largest
    ]  # fmt: skip
    return [
        _said(pairs.verdict),
        _explained("associations", left_out),
        element("figure", element("h3", "Synthetic minus real"), difference, charts.colour_scale(),
                attributes={"class": "card whole"}),
        classed("div", "grid", *maps),
        charts.legend(("plus-key", "above 0"), ("minus-key", "below 0; the stronger the colour, the more")),
        table(
            "Pairs of columns that differ most clearly; p is adjusted for all tests.",
            ("pair", "synthetic", "real", "difference", "95 % interval", "p"),
            rows,
        ),
        _soft_p(
            f"On average over all pairs the associations are {pairs.difference.value:.3f} apart (95 % interval "
            f"{pairs.difference.low:.3f} to {pairs.difference.high:.3f}); those of two draws of one distribution "
            f"would be {pairs.by_chance:.3f} apart."
        ),
    ]  # fmt: skip


def classifier(found: TableEvaluation) -> list[Child]:
    """How often it is right, beside its reference value, and by which columns."""
    result = found.classifier
    parts: list[Child] = [_said(result.verdict), _explained("classifier")]
    if result.accuracy is None or result.reference is None:
        return parts
    given = [
        _mark("synthetic rows", result.accuracy, result.verdict.level),
        _mark("training rows", result.reference, "real"),
    ]
    low = min(0.45, result.reference.low, result.accuracy.low)
    said = f"Accuracy against held-out rows with 95 % intervals: {_whole(result.accuracy)} of synthetic rows, "
    said += f"{_whole(result.reference)} of training rows."
    parts += [charts.marks(given, low, max(1.0, result.accuracy.high), said, centre=0.5), _soft_p(said)]
    important = [(name, value) for name, value in result.columns[:IMPORTANT_SHOWN] if value > 0]
    if important and result.verdict.differs:
        listed = "; ".join(f"{name} {100 * value:.1f}" for name, value in important)
        parts += [
            element("h3", "The most discriminative columns"),
            _soft_p("Of 100 cases so many fewer are right when the entries of the column are permuted."),
            charts.bars([name for name, _ in important], [value for _, value in important], f"Importance: {listed}."),
        ]
    return parts


def utility(found: TableEvaluation) -> list[Child]:
    """Scores of models trained on synthetic and on real rows."""
    if found.utility is None:
        return []
    parts: list[Child] = [_said(found.utility.verdict)]
    use = found.utility.utility
    if use is None:
        return [*parts, _explained("utility", f" The target is {found.utility.target}.")]
    chance = 0.5 if use.score == "AUC" else 0.0
    low = min(chance, use.synthetic.low, use.real.low)
    name = "area under the ROC curve" if use.score == "AUC" else "R²"
    said = f"{use.score} of '{use.target}', with 95 % intervals: {_whole(use.synthetic)} after training on synthetic "
    said += f"rows, {_whole(use.real)} on training rows; difference {_whole(use.difference)}."
    given = [_mark("synthetic rows", use.synthetic, "synthetic"), _mark("training rows", use.real, "real")]
    rows: list[list[Child]] = [[name, f"{use.synthetic.value:.3f}", f"{use.real.value:.3f}"]]
    rows += [[key, f"{ours:.3f}", f"{theirs:.3f}"] for key, (ours, theirs) in use.more.items()]
    relative = ""
    if use.relative is not None:
        relative = f" Relative utility, what is left of what real rows teach beyond chance: {_whole(use.relative)}."
    return [
        *parts,
        _explained("utility", f" The target is {use.target}."),
        charts.marks(given, low, max(1.0, use.synthetic.high, use.real.high), said, centre=chance),
        _soft_p(said + relative),
        table(
            f"Scores on {use.rows[1]:,} held-out rows, after training on {use.rows[0]:,} rows.",
            ("score", "trained on synthetic rows", "trained on training rows"),
            rows,
        ),
    ]


def likelihood(found: TableEvaluation) -> list[Child]:
    """Held-out beside training rows."""
    if (like := found.likelihood) is None:
        return []
    parts: list[Child] = [_said(like.verdict), _explained("likelihood")]
    if like.held_out is not None and like.training is not None and like.difference is not None:
        given = [_mark("held-out rows", like.held_out, "real"), _mark("training rows", like.training, "synthetic")]
        low, high = min(m.low for m in given), max(m.high for m in given)
        room = 0.1 * (high - low) or 1.0
        said = f"Nats per row, with 95 % intervals: held-out {_whole(like.held_out)}, training "
        said += f"{_whole(like.training)}; difference {_whole(like.difference)}."
        parts += [charts.marks(given, low - room, high + room, said), _soft_p(said)]
    if any(like.impossible):
        held_out, training = like.impossible
        parts.append(
            _soft_p(
                f"{held_out:,} held-out and {training:,} training rows are impossible to the model (density 0); the "
                "means leave them out."
            )
        )
    return parts


def dcr(found: TableEvaluation) -> list[Child]:
    """Distances to the closest training row."""
    parts: list[Child] = [_said(found.privacy.records_verdict), _explained("dcr")]
    records = found.privacy.records
    if records is None:
        return parts
    both = np.concatenate([records.synthetic, records.held_out])
    edges = np.linspace(0, max(float(both.max()), 1e-12), BINS + 1)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (records.held_out, records.synthetic)]
    quantiles = records.quantiles()
    listed = "; ".join(f"{name} {theirs:.3g} and {ours:.3g}" for name, (ours, theirs) in quantiles.items())
    picture = charts.histogram(
        shares[0], shares[1], edges, f"Distances to the closest training row, held-out and synthetic: {listed}."
    )
    share = records.share
    rows: list[list[Child]] = [
        [f"distance, {name}", number(ours), number(theirs)] for name, (ours, theirs) in quantiles.items()
    ]
    rows.append(
        ["DCR share (95 % interval)", f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})", "5.0% (neutral)"]
    )
    return [
        *parts,
        charts.legend(("real-key", "held-out rows"), ("synthetic-key", "synthetic rows")),
        classed("figure", "card half", picture),
        table("Distances to the closest training row.", ("measure", "synthetic rows", "held-out rows"), rows),
    ]


def copies(found: TableEvaluation) -> list[Child]:
    """Exact copies."""
    counted = found.privacy.copies
    rows: list[list[Child]] = [
        [name, f"{count:,}", f"{total:,}", f"{count / total:.2%}" if total else "-"]
        for name, (count, total) in (
            ("synthetic rows that equal a training row", counted.synthetic),
            ("held-out rows that equal a training row", counted.held_out),
            ("training rows that equal another", counted.repeated),
        )
    ]
    return [
        _said(found.privacy.copies_verdict),
        _explained("copies"),
        table("Rows that are equal in every entry.", ("rows", "copies", "of", "share"), rows),
    ]


def examples(found: TableEvaluation) -> list[Child]:
    """Some rows of each."""
    shown_rows = found.examples
    return [
        _explained("examples"),
        *(
            table(
                title,
                ("", *shown_rows.names),
                [[str(i), *map(_nowrap, row)] for i, row in enumerate(rows, start=1)],
            )
            for title, rows in (("Synthetic rows", shown_rows.synthetic), ("Real rows", shown_rows.real))
        ),
    ]


# --- small parts ----------------------------------------------------------------------------------------------------


def _legend() -> Html:
    return charts.legend(("real-key", "real rows"), ("synthetic-key", "synthetic rows"))


def _mark(label: str, metric: Metric, colour: str) -> Mark:
    return Mark(label, metric.value, metric.low, metric.high, colour)


def _graded(one: Verdict) -> Html:
    return classed("span", one.level, one.text) if one.differs else classed("span", "soft", one.text)


def _said(one: Verdict, of: str = "") -> Html:
    """A verdict with what would have been seen."""
    level = classed("span", one.level, f"{LEVELS[one.level]}. " if one.level != "none" else "")
    text = of + one.text[:1].upper() + one.text[1:]
    seen = f" {one.seen[:1].upper()}{one.seen[1:]} would have been seen." if one.seen else ""
    p_value = f" Adjusted p {_p(one.p_value, '= ')}." if one.p_value is not None and one.differs else ""
    return classed("p", "said", level, f"{text}.{p_value}", _soft(seen))


def _explained(key: str, more: str = "") -> Html:
    return classed("p", "soft", EXPLAINED[key] + more)


def _whole(metric: Metric) -> str:
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


def _p(value: float | None, equals: str = "") -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{equals}{value:.2g}"


def _two(value: float, sign: str = "") -> str:
    return "-" if np.isnan(value) else f"{value:{sign}.2f}"


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _nowrap(words: str) -> Html:
    return classed("span", "nowrap", words)


def _soft(words: str) -> Html:
    return classed("span", "soft", words)


def _soft_p(words: str) -> Html:
    return classed("p", "soft", words)
