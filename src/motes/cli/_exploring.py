"""`motes explore`: the page on which diffusion can be touched."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli._common import Quiet, app, note, start_jax, whole
from motes.cli._signals import loading, terminated_by_sigterm
from motes.errors import Terminated, UsageError

if TYPE_CHECKING:
    pass

SERVER = ("starlette", "uvicorn", "websockets")  # packages of the page's server


@app.command
def explore(
    model: Annotated[
        str, Parameter(help="A shape (see `motes shapes`), a run's folder, or its model.safetensors.")
    ] = "swiss_roll",
    /,
    *,
    host: Annotated[str, Parameter(help="Listen at this address of the machine; others then reach the page.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, Parameter(converter=whole, help="Listen at this port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, Parameter(help="Open the page in the browser.")] = True,
    quiet: Quiet = False,
) -> int:
    """Open a page on which a model's points move: scrub time, compare samplers, see what was learned beside the truth.

    It runs until Ctrl-C, on this machine alone unless --host says otherwise, and asks nothing of any other.
    """
    if not quiet:
        note("motes: preparing the first picture; the address follows in some ten seconds ...")
    start_jax()
    try:
        with loading():
            from motes.explorer import Shelf, is_loopback, open_subject, serve
    except ModuleNotFoundError as error:
        if error.name not in SERVER:
            raise
        raise UsageError(
            f"the explorer needs {error.name}, which is not installed: pip install {' '.join(SERVER)}."
        ) from None

    def ready(address: str) -> None:
        print(address, flush=True)
        if not quiet:
            note("motes: the page is at this address until Ctrl-C.")
        if browser:
            _open(address, folder)

    if not 0 <= port <= 65_535:
        raise UsageError(f"got --port {port}; expected 0 (a free one) to 65535.")
    if not is_loopback(host):
        note(
            f"warning: --host {host} lets other machines in. Whoever knows the whole address, with its token, may use "
            "this machine to compute; nothing on the way is encrypted."
        )
    shelf = Shelf(open_subject(model, lambda shape: _trained(shape, quiet)))
    code = 0
    # `_leave` ends the process at once, so the folder has to go before it.
    try:
        with TemporaryDirectory(prefix="motes-explore-") as folder, terminated_by_sigterm():
            serve(shelf, host=host, port=port, on_start=ready)
    except KeyboardInterrupt:
        pass  # how it is ended
    except Terminated as error:
        code = error.exit_code
    _leave(code)
    return code


def _trained(shape: str, quiet: bool) -> Any:
    """A model of a shape that has none at hand, by the default recipe."""
    from motes._pipeline import prepared, trained
    from motes._progress import Reporter
    from motes.recipes import load_recipe

    return trained(prepared(shape, load_recipe("default"), 0), 0, Reporter(quiet))


def _open(address: str, folder: str) -> None:
    """In a thread: a browser that hangs holds nothing up.

    Other users of the machine see the browser's command line. So it names a file that only this user can read, and the
    file leads on to the address with its token.
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
    """End the process at once: a thread may compute for many seconds yet, and nothing is left to be kept."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
