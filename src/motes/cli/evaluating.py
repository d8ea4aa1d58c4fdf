"""`motes evaluate`, `motes diagnose`, `motes plot`: how good a model is, and what it looks like."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli.common import app, note, print_result, read_by, refuse_others, start_jax, whole
from motes.cli.options import DiagnosisOut, EvaluationOut, Given, Pictures, Printed, Quiet, Reference, Run, Seed, Text
from motes.errors import UsageError
from motes.text_options import TextOptions

if TYPE_CHECKING:
    from motes.evaluation import Calibration, Diagnosis, TableDiagnosis


@app.command
def evaluate(
    model: Run,
    source: Reference = None,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", converter=whole, help="Samples, and real points, at most.")] = 10_000,
    target: Annotated[
        str | None,
        Parameter(
            help="Of a table: a column that is predicted from the others, after training on synthetic and on real rows."
        ),
    ] = None,
    written: EvaluationOut = EvaluationOut(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    printed: Printed = Printed(),
) -> int:
    """Measure how far a model's samples are from real rows, each number beside that of two real draws."""
    start_jax()
    from motes.cli.plots import draw_evaluation, refuse_evaluation
    from motes.loading import load
    from motes.plots import write_page
    from motes.plots.report import check_page
    from motes.progress import Reporter

    reporter = Reporter(printed.quiet)
    trained: Any = read_by(load(model), text, source)
    if written.report is not None:
        check_page(written.report)
    if written.out is not None and not written.overwrite:
        refuse_evaluation(written.out)
    refuse_others(trained, points={}, tables={"--target": target, "--show-rows": written.show_rows})
    found = trained.evaluate(
        source, n=n, seed=seed, verbose=not printed.quiet, **({} if target is None else {"target": target})
    )
    if written.report is not None:
        write_page(found, written.report, show_rows=written.show_rows)
        reporter.say(f"report in {written.report}")
    print_result(found, found.to_dict(), printed.json)
    if written.out is not None:
        paths = draw_evaluation(found, trained, source, written.out, drawing=written.drawing, seed=seed)
        for path in paths:
            reporter.say(str(path))
        if not paths:
            note("no figures: they are of points of the plane, and of tables. --report has the columns.")
    return 0


@app.command
def diagnose(
    model: Run,
    source: Reference = None,
    /,
    *,
    n: Annotated[
        int | None,
        Parameter(alias="-n", converter=whole, help="Of points: samples, and real points, at most; 8192 if left out."),
    ] = None,
    folder: DiagnosisOut = DiagnosisOut(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    printed: Printed = Printed(),
) -> int:
    """Find out what is wrong with a model and how to fix it.

    Of points: where the error of the samples comes from. Of a table: what the model knows of each column.
    """
    start_jax()
    from motes.cli.plots import keep_diagnosis, refuse_diagnosis
    from motes.evaluation.causes import ROWS
    from motes.loading import load
    from motes.progress import Reporter

    if folder.out is not None and not folder.overwrite:
        refuse_diagnosis(folder.out)
    reporter = Reporter(printed.quiet)
    trained: Any = read_by(load(model), text, source)
    refuse_others(trained, points={"-n": n, "--t": folder.t}, tables={})
    found: Diagnosis | TableDiagnosis | Calibration
    if trained.kind == "points":
        n = ROWS if n is None else n
        with reporter.counting("diagnosing", "rows") as count:
            found = trained.diagnose(source, n=n, seed=seed, on_progress=count)
    else:
        of_posteriors = trained.kind == "posterior"
        reporter.say(
            "drawing the posterior of each row" if of_posteriors else "scoring rows that the model has not seen"
        )
        found = trained.diagnose(source, seed=seed, **({"n": n} if n and of_posteriors else {}))
    print_result(found, found.to_dict(), printed.json)
    if folder.out is not None:
        options = folder.drawing
        for path in keep_diagnosis(found, trained, source, folder.out, t=folder.t, drawing=options, seed=seed):
            reporter.say(str(path))
    return 0


@app.command
def plot(
    model: Run,
    source: Annotated[str | None, Parameter(help="The data; what it was trained on if left out.")] = None,
    /,
    *,
    given: Given = [],  # noqa: B006 - never changed
    pictures: Pictures = Pictures(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """Draw the pictures of a model; of points also the animation, and given observations one of draws in pairs."""
    start_jax()
    from motes.cli.condition_words import conditions
    from motes.cli.plots import draw_posterior, draw_run, refuse_pictures
    from motes.evaluation.sources import source_of
    from motes.loading import load
    from motes.progress import Reporter

    if pictures.video and find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video needs imageio-ffmpeg: pip install imageio-ffmpeg. Without --video it is a GIF.")
    trained: Any = read_by(load(model), text, source)
    home = model if model.is_dir() else model.parent
    out = pictures.out or home
    if out.resolve() != home.resolve() and not pictures.overwrite:
        refuse_pictures(out)
    refuse_others(trained, points={"--video": pictures.video}, tables={})
    reporter, look = Reporter(quiet), pictures.drawing
    if trained.kind == "posterior":
        if source is not None or pictures.video:
            what = f"the data '{source}'" if source is not None else "--video"
            raise UsageError(f"got {what}; expected --given alone: the picture is of draws given one observation.")
        known = conditions(given, trained)
        paths = draw_posterior(trained, known, out, reporter, drawing=look, seed=seed, home=home)
    else:
        if given:
            raise UsageError(
                f"got --given {given[0]}; expected a model of points that was trained with --given-columns. Draw rows "
                "under conditions with `motes sample`."
            )
        origin = source_of(trained, source)
        paths = draw_run(trained, origin, out, reporter, drawing=look, seed=seed, home=home, video=pictures.video)
    for path in paths:
        print(path)
    return 0
