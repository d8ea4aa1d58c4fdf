"""Files to download: the page without a server, the recipe, the model and the animation.

The page without a server contains the model, and its forward pass in plain JavaScript.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import equinox as eqx
import numpy as np
from markupsafe import escape
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError
from motes.explorer.subjects import Subject, require_origin
from motes.points import Denoiser, Given, Preconditioned, ResidualMLP
from motes.points.conditional import Conditional
from motes.points.denoisers import InContext
from motes.progress import OnProgress, Progress

POINTS = 2_000  # maximum number of real points
STYLE, PAGE = "page/style.css", "alone/alone.html"
MODULES = ("page/words.js", "page/paint.js", "page/layers.js", "alone/model.js", "alone/alone.js")
FORMS = ("page", "recipe", "model", "film")
FILM_POINTS, FILM_SIZE = 4_000, 360


def page_alone(subject: Subject) -> str:
    """Return the HTML of a page that contains this model and computes with it.

    Raises:
        UsageError: if the page does not support the denoiser, the network or the number of columns.
    """
    if not _is_supported(subject):
        raise UsageError(
            "the page without a server supports only the network 'residual' without scales, with the denoiser 'edm', "
            f"two columns and no guidance; '{subject.name}' differs. Show it with motes explore."
        )
    files = resources.files("motes") / "explorer"
    texts = {name: (files / name).read_text(encoding="utf-8") for name in (*MODULES, STYLE, PAGE)}
    words = {
        "title": escape(subject.name.replace("_", " ")),
        "about": escape(f"The model '{subject.name}' has {subject.model.parameters:,} parameters."),
        "style": texts[STYLE],
        # "</script>" must not occur inside the element.
        "model": json.dumps(_model(subject)).replace("<", "\\u003c"),
        "script": "\n".join(_inline(texts[name]) for name in MODULES),
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(words[found[1]]), texts[PAGE])


def _is_supported(subject: Subject) -> bool:
    denoiser = _unconditional(subject.denoiser)
    if not isinstance(denoiser, Preconditioned):
        return False
    network = _network_of(denoiser)
    if not isinstance(network, ResidualMLP) or network.scales is not None:
        return False
    return subject.model.dim == 2 and subject.model.context is None


def _unconditional(denoiser: Denoiser) -> Denoiser:
    """Return the denoiser; for a model with classes, the denoiser of all classes together."""
    return denoiser.given(Given()) if isinstance(denoiser, Conditional) else denoiser


def _network_of(denoiser: Preconditioned) -> Any:
    """Return the network, with or without a context."""
    return denoiser.network.network if isinstance(denoiser.network, InContext) else denoiser.network


def _first_layer(denoiser: Preconditioned) -> eqx.nn.Linear:
    """Return the first layer for the class that is shown, with the constant context added to its bias."""
    network = _network_of(denoiser)
    if not isinstance(denoiser.network, InContext):
        return network.into
    own = network.into.weight.shape[1] - network.context
    bias = network.into.bias + network.into.weight[:, own:] @ denoiser.network.context
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), network.into, (network.into.weight[:, :own], bias))


def _model(subject: Subject) -> dict[str, Any]:
    denoiser = _unconditional(subject.denoiser)
    assert isinstance(denoiser, Preconditioned)  # checked before
    network = _network_of(denoiser)
    _, alpha, sigma = subject.clock
    real = np.zeros((0, 2)) if subject.origin is None else subject.data(POINTS, 0)
    about = subject.about()
    return {
        "about": {name: about[name] for name in ("name", "columns", "box", "mean", "scale")},
        "clock": {"alpha": _encode(alpha), "sigma": _encode(sigma)},
        "network": {
            "layers": [_layer(layer) for layer in (_first_layer(denoiser), *network.hidden, network.out)],
            "sigmaData": denoiser.sigma_data,
        },
        "data": _encode(real),
        "least": subject.model.lowest_noise,
    }


def _layer(layer: eqx.nn.Linear) -> dict[str, str]:
    assert layer.bias is not None  # true for every network of motes
    return {"weight": _encode(layer.weight), "bias": _encode(layer.bias)}


def _encode(array: ArrayLike) -> str:
    """Encode an array as little-endian float32 in base64."""
    return b64encode(np.asarray(array, "<f4").tobytes()).decode()


def _inline(module: str) -> str:
    """Remove imports and exports from a module, so that it can be part of one script."""
    return re.sub(r"^export ", "", re.sub(r"^import .*\n", "", module, flags=re.MULTILINE), flags=re.MULTILINE)


def export(subject: Subject, form: str, seed: int, on_progress: OnProgress) -> dict[str, Any]:
    """Return a file of a form: `text`, or bytes as `base64`.

    Raises:
        UsageError: if the model does not support this form.
    """
    if form == "page":
        return {"text": page_alone(subject)}
    if form == "recipe":
        return {"text": subject.model.recipe.to_toml()}
    # A model and an animation are written by the library into a temporary folder.
    try:
        with TemporaryDirectory(prefix="motes-explorer-") as folder:
            path = Path(folder) / ("model.safetensors" if form == "model" else "film.gif")
            if form == "model":
                subject.model.save(path)
            else:
                _film(subject, path, seed, on_progress)
            return {"base64": b64encode(path.read_bytes()).decode()}
    except OSError as error:
        raise UsageError(
            f"no temporary file can be written ({error.strerror or error}). Make room, or start `motes explore` with "
            "TMPDIR set to a folder that has some."
        ) from None


def _film(subject: Subject, path: Path, seed: int, on_progress: OnProgress) -> None:
    """Write the animation of a run, with fewer points and pixels."""
    from motes import plots
    from motes.plots.chains import shoot

    require_origin(subject)
    film = shoot(subject.model, subject.data(FILM_POINTS, seed), n=FILM_POINTS, seed=seed)
    on_progress(Progress(0))

    def frames() -> Iterator[NDArray[np.uint8]]:
        times = film.view.times
        made = plots.frames(
            film.forward[::-1], times[::-1], film.reverse, times, view=film.view.drawn(film.limits), size=FILM_SIZE
        )
        for frame in made:
            on_progress(Progress(0))
            yield frame

    plots.save_gif(frames(), path)
