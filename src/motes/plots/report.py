"""The record of an evaluation as one HTML file that needs nothing else; the templates are Jinja2's."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from motes.errors import UsageError
from motes.evaluation import Evaluation
from motes.evaluation.points import PointDetails
from motes.evaluation.records import SECTIONS, Details
from motes.evaluation.results import between, capital, number, p_value
from motes.evaluation.table_results import TableDetails
from motes.replacing import replacing

if TYPE_CHECKING:
    from jinja2 import Environment


SEVERITIES = {
    "good": "No difference detected",
    "unknown": "Could not be determined",
    "small": "Small difference",
    "moderate": "Moderate difference",
    "large": "Large difference",
}
EXPLAINED = {
    "columns": "Each column by itself, over all synthetic and all real rows. The difference is that of one share of "
    "rows: of a label, of numbers up to a threshold, or of one number that comes often; the clearest one of the "
    "column is shown, synthetic minus real. Its interval is at the level of all tests of this report together: it "
    "excludes 0 exactly where a difference is found. The distance is how large a share of the rows "
    "would have to move for the two to agree; beside it stands what two draws of one distribution would give.",
    "quantiles": "Minimum, quartiles and maximum over all rows. A row that no real row comes near shows here.",
    "associations": "How much one column says about another, from 0 (nothing) to 1 (everything); between numbers with "
    "its sign. The difference is synthetic minus real. What is beyond chance is how differently the two columns go "
    "together; it may be above 0 for equal associations, where other values go together.",
    "classifier": "Boosted trees learn to tell synthetic from held-out rows and are tested on rows that they have "
    "not seen. Right in 50 of 100 cases is guessing.",
    "utility": "The same model learns the target once from synthetic and once from training rows; both are tested on "
    "the same held-out rows.",
    "likelihood": "How likely real rows are under the model, in nats per row: more is better. Training rows that are "
    "much more likely than held-out rows were memorised. This says nothing about how synthetic rows look.",
    "dcr": "How far it is from each row to the training row closest to it. Held-out rows were no part of the "
    "training, so synthetic rows should lie as far off as they do. Exact copies are left out here and counted below.",
    "copies": "Rows that equal a training row in every entry. In a table of few labels copies come about by chance; "
    "so held-out rows that equal a training row are counted too, and training rows that equal another.",
    "pictures": "Points of both sets on the same axes, then each column by itself. A histogram reaches from the "
    "smallest to the largest number of both sets, and the table has minimum, quartiles and maximum.",
    "calibration": "Each row is compared with draws given what was observed with it. Under right posteriors it is one "
    "more draw, so that its rank among them is uniform. Posteriors that are too narrow have too many ranks "
    "near the ends, those that are too wide near the middle. The width is 1 where they are right, and 0.8 where they "
    "are 20 % too narrow.",
    "distances": "How far probability has to be carried for the samples to have the distribution of the data, in "
    "standard deviations of the data. Two real draws of the same size are not at 0 either: that is the reference "
    "value.",
    "tests": "Tests of one hypothesis: samples and real points have the same distribution. A classifier that is "
    "right in 50 of 100 cases is guessing.",
    "coverage": "Are the samples where the data is (precision, density), and is the data where the samples are "
    "(recall, coverage)? By nearest neighbours.",
    "modes": "The data has modes, whose places and shares are known. Does each have its share of the samples?",
    "fit": "How likely real points are under the model, beside what the exact distribution gives them; and how far "
    "the network's loss is above the irreducible one, which an exact denoiser has. Integrated over noise levels that "
    "excess bounds the Kullback-Leibler divergence, in nats a row.",
    "examples": "Ten synthetic rows, drawn at random. This report shows no real row; show_rows=True, or --show-rows "
    "of `motes evaluate --report`, adds some.",
    "real_examples": "Ten rows of each, drawn at random. The real ones are training rows: do not share this report if "
    "these must stay private.",
    "unlikely": "The held-out rows that the model finds least likely, with log p in nats: what it explains worst.",
}
METHODS = {
    "points": "Each metric is computed twice: of the samples, and of another real draw of the same size in their "
    "place, which gives the reference value. All verdicts are one family of tests: if samples and real points had one "
    "distribution, one verdict or more would be a false alarm in 5 of 100 reports. Rows are exchanged between both "
    "sets at random, 199 times, in blocks, and every metric is taken again each time. A value is outside of the range "
    "of chance exactly where its p, adjusted for all metrics, is below 0.05, and then a difference counts (Westfall & "
    "Young 1993; boosted trees and what concerns the model by "
    "Holm's method). Its size decides whether it is small, moderate or large. What a test could detect "
    "is what the test finds in about 80 of 100 cases.",
    "posteriors": "99 draws of the model for each row. All verdicts on the calibration are one family of tests "
    "(Bonferroni): of right posteriors one verdict or more would be a false alarm in 25 of 1,000 reports. A difference "
    "is found where p, adjusted for all tests, is below 0.025.",
    "calibration": "Simulation-based calibration (Talts et al. 2018): Kolmogorov's test of the ranks of each column, "
    "and of the ranks of distances to the row with the most similar observation, of those before it, for all columns "
    "together (TARP, Lemos et al. 2023). The width is 1 over the standard deviation of normal scores of the ranks; "
    "that of all columns is taken from ranks by the Mahalanobis distance. Tests and intervals of widths are "
    "chi-squared.",
    "distances": "Sliced W2 along 200 directions, tested along every twelfth; exact W2 of at most 200 rows of each "
    "set. Over the root of the mean variance per column.",
    "modes": "The nearest mode of each sample; the distance is the total variation of the shares.",
    "fit": "log p by the probability flow, of up to 2,000 real points; without a known distribution beside that of "
    "training rows. Of the same rows the test is Student's, of others Welch's. The excess loss is the mean squared "
    "difference of the network's and the exact noise; above 0.2 nats it is a difference.",
    "table": "All tests of this report are one family: if synthetic and real rows had one distribution, one test or "
    "more would raise an alarm in 5 of 100 reports. Each p-value is adjusted for that (Holm's method with weights; "
    "within columns and within pairs the correlations of the tests are taken into account). Intervals of what is "
    "tested have the same level. A difference that would "
    "have been seen is one that the test finds in 80 of 100 cases.",
    "tests": "Energy distance, and MMD of five Gaussian kernels. C2ST: nearest neighbours, cross-validated; and "
    "boosted trees on rows that they have not seen, with a hypergeometric p.",
    "coverage": "Precision and recall of Kynkäänniemi et al. 2019, density and coverage of Naeem et al. 2020.",
    "columns": "Signed roots of likelihood ratios for shares; intervals are Newcombe's. Distances: "
    "Kolmogorov-Smirnov of numbers, total variation of labels; W1 is the Wasserstein distance in standard "
    "deviations.",
    "missing": "As columns, for the shares of missing entries.",
    "associations": "Numbers: Spearman's rank correlation, with ranks among all rows. Labels: Cramér's V without its "
    "bias. One of each: the correlation ratio of the ranks without its bias. Tests by 399 permutations of blocks of "
    "rows; intervals by the jackknife.",
    "classifier": "50 boosted trees learn from one half of as many synthetic as held-out rows and are tested on the "
    "other half; the p-value is hypergeometric. The importance of a column is how much lower the accuracy is when its "
    "entries are permuted.",
    "utility": "100 boosted trees, five times, each time without a fifth of the rows. Labels are scored by the area "
    "under the ROC curve (each label against the rest), numbers by R² of their normal scores. Intervals contain the "
    "chance of the test rows and of the training rows.",
    "likelihood": "Means of log p with intervals of Student's t; Welch's one-sided test.",
    "dcr": "Euclidean distance between normal scores of the numbers; a label that differs, or an entry that only one "
    "row has, counts as 1. The share of near rows is tested exactly (negative hypergeometric).",
    "copies": "Fisher's exact test. Training rows that equal another come in pairs, and count one half.",
}


def check_page(path: str | Path) -> None:
    """Refuse a name or a place that no page can be written to, before the work.

    Raises:
        UsageError: a name that does not end in .html, or no such folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"got a report named '{path}'; expected a name that ends in .html.")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder '{path.parent}'. Make it first.")


def write_page(found: Evaluation[Details], path: str | Path, *, show_rows: bool = False) -> Path:
    """Write one self-contained page: no script, no font, no picture from elsewhere; dark, light or printed.

    Args:
        found: what an evaluation gave.
        path: of the file, ending in .html; one that is there is replaced.
        show_rows: of a table, show ten training rows and the ten held-out rows that the model finds least likely.

    Returns:
        The path.

    Raises:
        UsageError: a name that does not end in .html, or a folder that is not there or cannot be written to.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.plots import write_page
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> write_page(found, "report.html").name
        'report.html'
    """
    path = Path(path)
    check_page(path)
    text = page(found, show_rows=show_rows)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}. Choose another place for the report.") from None
    return path


def page(found: Evaluation[Details], *, show_rows: bool = False) -> str:
    """The text of that file.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> from motes.plots import page
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> page(found).startswith("<!doctype html>")
        True
    """
    from markupsafe import Markup

    from motes.plots import svg, views

    details = found.details
    quantiles = []
    if isinstance(details, PointDetails):
        quantiles = [line for one in details.columns for line in views.quantiles(one.name, "real", one.quantiles)]
    elif isinstance(details, TableDetails):
        for column in details.columns:
            if column.quantiles is not None:
                quantiles += views.quantiles(column.name, column.kind, column.quantiles)
    methods = [(capital(details.kind), METHODS[details.kind])]
    methods += [(SECTIONS[key].title, METHODS[key]) for key in found.verdicts]
    style = (resources.files("motes") / "plots" / "report.css").read_text(encoding="utf-8")
    return _environment().get_template(f"{details.kind}.html.j2").render(
        found=found,
        details=details,
        verdicts=found.verdicts,
        about={"date": found.date, "version": f"motes {found.version}", "seed": found.seed, **found.about},
        methods=methods,
        quantiles=quantiles,
        views=views,
        svg=svg,
        sections=SECTIONS,
        severities=SEVERITIES,
        explanations=EXPLAINED,
        show_rows=show_rows,
        style=Markup(style),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    """Templates, with text escaped wherever it enters: a column named <script> is a name and nothing else."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from motes.plots import views
    from motes.plots.svg import printable

    made = Environment(
        loader=PackageLoader("motes.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=printable,
    )
    filters = (views.two, views.three, between, p_value, number, capital)
    made.filters |= {one.__name__: one for one in filters}
    return made
