"""Commands that list shapes, data sets, recipes and samplers, and the command that serves the explorer."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from motes.cli.common import Count, Quiet, Seed, app, note, start_jax, terminated_by_sigterm
from motes.errors import Terminated, UsageError, unknown
from motes.interrupts import uninterrupted


@app.command
def shapes(name: str | None = None, /, *, n: Count = 4000, noise: float | None = None, seed: Seed = 0) -> int:
    """List the toy shapes, each with a picture.

    Args:
        name: Show only this shape.
        n: Points in each picture.
        noise: Standard deviation of the blur (default: the shape's own).
    """
    from motes.data import SHAPES, make_shape
    from motes.rasters import braille

    if name is not None and name not in SHAPES:
        raise UsageError(unknown("shape", name, SHAPES))
    for shape in [SHAPES[name]] if name else SHAPES.values():
        classes = f"{shape.classes} classes" if shape.classes else "no classes"
        print(f"{shape.name}: {shape.about} (noise {shape.noise:g}, {classes})")
        print(braille(make_shape(shape.name, n, seed=seed, noise=noise)) + "\n")
    return 0


@app.command
def datasets() -> int:
    """List the small tables that ship with motes."""
    from motes.data import DATASETS

    print(f"{'data set':<14} {'rows':>5} {'columns':>7}  {'to predict':<12} {'comes with':<28} each row is")
    for one in DATASETS.values():
        print(f"{one.name:<14} {one.rows:>5,} {one.columns:>7}  {one.target:<12} {one.source:<28} {one.about}")
    print("\n`motes columns NAME` shows the columns, and `motes train NAME` learns them. You can give a name instead")
    print(
        'of a file of rows; it takes precedence over a file of that name. motes.dataset("NAME") returns a pandas frame.'
    )
    return 0


@app.command
def recipes(name: str | None = None, /) -> int:
    """List the recipes, or print one.

    Args:
        name: Print this recipe's file, as a start for your own.
    """
    from motes.recipe_files import recipe_about, recipe_names, recipe_text

    if name is not None:
        print(recipe_text(name), end="")
        return 0
    for known in recipe_names():
        print(f"{known:<10} {recipe_about(known)}")
    print("\nmotes recipes NAME prints one; motes train SOURCE --recipe NAME --set section.key=value changes it.")
    return 0


@app.command
def samplers() -> int:
    """List the samplers with their order, cost per step and when to use each."""
    from motes.recipes import kinds_of

    print(f"{'sampler':<19} {'order':>5} {'evaluations':>11} {'noise':>5}  when to pick it")
    for name, sampler in kinds_of("sampler").items():
        one = sampler()
        cost = "adaptive" if one.evaluations is None else f"{one.evaluations} per step"
        print(f"{name:<19} {one.order:>5} {cost:>11} {'yes' if one.stochastic else 'no':>5}  {one.when}")
    print("order: the error falls as 1 / steps^order; for samplers with noise, the error of the distribution.\n")
    for name, grid in kinds_of("grid").items():
        about = (grid.__doc__ or "").partition("\n")[0]
        about = "" if about.startswith(f"{grid.__name__}(") else about  # the default docstring of a dataclass
        print(f"grid {name:<15} {about}".rstrip())
    print("\nmotes sample MODEL --sampler NAME --steps N --grid NAME uses them. Options, and times of your own, are")
    print("set in a recipe: --set sampler.kind=ddim --set sampler.eta=0.5.")
    return 0


# --- `motes explore`: the interactive explorer ----------------------------------------------------------------------


SERVER = ("starlette", "uvicorn", "websockets")  # packages of the page's server


@app.command
def explore(
    model: str = "swiss_roll",
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = 0,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = True,
    quiet: Quiet = False,
) -> int:
    """Open the interactive explorer: scrub through time, compare samplers and inspect what was learned.

    It runs until Ctrl-C. Only this machine can reach it, unless you set --host; it never contacts another machine.

    Args:
        model: A shape (see `motes shapes`), a run's folder, or its model.safetensors.
        host: Listen at this address, so that other machines can reach the page.
        port: Listen at this port; 0 chooses a free one.
        browser: Open the page in the browser.
    """
    if not quiet:
        note("motes: preparing the first picture; the address follows in about ten seconds ...")
    start_jax()
    try:
        with uninterrupted():
            from motes.explorer.server import is_loopback, serve
            from motes.explorer.subjects import Shelf, open_subject
            from motes.fitting import fit
    except ModuleNotFoundError as error:
        if error.name not in SERVER:
            raise
        raise UsageError(f"the explorer needs {error.name}: pip install {' '.join(SERVER)}.") from None

    def ready(address: str) -> None:
        print(address, flush=True)
        if not quiet:
            note("motes: the page is at this address until Ctrl-C.")
        if browser:
            _open_browser(address, folder)

    if not is_loopback(host):
        note(
            f"warning: --host {host} lets other machines connect. Anyone who knows the whole address, with its token, "
            "can use this machine to compute; the connection is not encrypted."
        )
    shelf = Shelf(open_subject(model, lambda shape: fit(shape, verbose=not quiet)))
    code = 0
    # `_leave` ends the process at once, so the folder must be removed first.
    try:
        with TemporaryDirectory(prefix="motes-explore-") as folder, terminated_by_sigterm():
            serve(shelf, host=host, port=port, on_start=ready)
    except KeyboardInterrupt:
        pass  # the usual way to stop it
    except Terminated as error:
        code = error.exit_code
    _leave(code)
    return code


def _open_browser(address: str, folder: str) -> None:
    """Open the page in a browser, in a thread, so that a browser that hangs does not block the server.

    Other users of the machine can see the browser's command line. So it names a file that only this user can read, and
    the file redirects to the address with its token.
    """
    import threading
    import webbrowser
    from html import escape

    page = Path(folder, "explore.html")
    text = (
        f'<!doctype html><meta charset="utf-8"><title>motes</title><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0; url={escape(address)}"><a href="{escape(address)}">the explorer</a>\n'
    )
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()


def _leave(code: int) -> None:
    """End the process at once: a thread may keep computing for many seconds, and nothing needs to be saved."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
