"""A page without a server: one HTML file with a model, and its forward pass in plain JavaScript."""

import json
import re
from base64 import b64encode
from importlib import resources
from typing import Any

import equinox as eqx
import numpy as np
from markupsafe import escape
from numpy.typing import ArrayLike

from motes.errors import UsageError
from motes.explorer.subjects import Subject
from motes.points import Given, Preconditioned, ResidualMLP
from motes.points.denoisers import Conditional, InContext

POINTS = 2_000  # maximum number of real points
STYLE, PAGE = "page/style.css", "alone/alone.html"
MODULES = ("page/words.js", "page/paint.js", "page/layers.js", "alone/model.js", "alone/alone.js")


def page_alone(subject: Subject) -> str:
    """Return the HTML of a page that contains this model and computes with it.

    Raises:
        UsageError: if the page does not support the denoiser, the network or the number of columns.
    """
    denoiser = subject.denoiser  # for a model with classes, of all classes together
    denoiser = denoiser.given(Given()) if isinstance(denoiser, Conditional) else denoiser
    layers = layers_of(denoiser) if subject.has_layers and subject.model.context is None else None
    if layers is None:
        raise UsageError(
            "the page without a server supports only the network 'residual' without scales, with the denoiser 'edm', "
            f"two columns and no guidance; '{subject.name}' differs. Show it with motes explore."
        )
    assert isinstance(denoiser, Preconditioned)  # it has layers
    about, (_, alpha, sigma) = subject.about(), subject.clock
    model = {
        "about": {name: about[name] for name in ("name", "columns", "box", "mean", "scale")},
        "clock": {"alpha": _encode(alpha), "sigma": _encode(sigma)},
        "network": {"layers": layers, "sigmaData": denoiser.sigma_data},
        "data": _encode(np.zeros((0, 2)) if subject.origin is None else subject.data(POINTS, 0)),
        "least": subject.model.lowest_noise,
    }
    folder = resources.files("motes") / "explorer"
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in (*MODULES, STYLE, PAGE)}
    words = {
        "title": escape(subject.name.replace("_", " ")),
        "about": escape(f"The model '{subject.name}' has {subject.model.parameters:,} parameters."),
        "style": texts[STYLE],
        "model": json.dumps(model).replace("<", "\\u003c"),  # "</script>" must not occur inside the element
        # One script: without the lines of import, and without the word export.
        "script": re.sub(r"^(import .*\n|export )", "", "\n".join(texts[name] for name in MODULES), flags=re.MULTILINE),
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(words[found[1]]), texts[PAGE])


def layers_of(denoiser: Any) -> list[dict[str, str]] | None:
    """Return the layers of the network, a constant context in the first bias; None if the page does not support it."""
    network: Any = denoiser.network if isinstance(denoiser, Preconditioned) else None
    context = None
    if isinstance(network, InContext):
        network, context = network.network, network.context
    if not isinstance(network, ResidualMLP) or network.scales is not None:
        return None
    first = network.into
    if context is not None:
        own = first.weight.shape[1] - len(context)
        bias = first.bias + first.weight[:, own:] @ context
        first = eqx.tree_at(lambda layer: (layer.weight, layer.bias), first, (first.weight[:, :own], bias))
    return [
        {name: _encode(getattr(layer, name)) for name in ("weight", "bias")}
        for layer in (first, *network.hidden, network.out)
    ]


def _encode(array: ArrayLike) -> str:
    """Encode an array as little-endian float32 in base64."""
    return b64encode(np.asarray(array, "<f4").tobytes()).decode()
