"""Answers to the requests of a page: clouds, chains, distances, scores, densities and rows of tables.

Everything is computed in float32, except likelihoods, which are integrated in double precision. Points are in the
coordinates of `Subject.shown`.
"""

import json
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from motes.data.points import MOST
from motes.errors import UsageError
from motes.explorer import points
from motes.explorer.export import page_alone
from motes.explorer.live import TRAINING
from motes.explorer.messages import Answer, Limits, Request
from motes.explorer.subjects import PLACES, Shelf, Subject, require_origin, samplers, shapes
from motes.explorer.tables import Array, TableSubject, known_cells
from motes.explorer.training import diagnose_subject
from motes.points import Denoiser
from motes.points.likelihood import flow_path, sampled_paths
from motes.points.samplers import EulerMaruyama
from motes.points.sampling import seed_key
from motes.progress import Progress
from motes.recipes import kinds_of

LEGS = 48  # steps of a path from its point to the data, and again to noise
WEIGHTS = ("last", "averaged")
FORMS = ("page", "recipe", "model")
SIDES = ("learned", "exact", "both")
# Kinds of requests; each is answered by the method of the same name.
KINDS = (
    "hello", "open", "cloud", "chain", "distance", "score", "density", "probe", "paths", "export", "table",
    "row", "reveal", "diagnose", "given",
)  # fmt: skip


class Answers:
    """Answers to the requests of pages, with a cache.

    Args:
        shelf: the models to choose from.
        limits: limits of a request.

    Example:
        >>> from motes.explorer.answers import Answers
        >>> from motes.explorer.messages import Limits
        >>> from motes.explorer.subjects import Shelf
        >>> answers = Answers(Shelf(), Limits())
        >>> answers.ask(what="cloud", model="moons", n=5, seed=0).arrays["points"].shape
        (5, 2)
    """

    def __init__(self, shelf: Shelf, limits: Limits):
        self.shelf, self.limits, self._cache = shelf, limits, _Cache(limits.kept)

    def answer(self, request: Request) -> Answer:
        """Answer a request.

        Args:
            request: a request of a kind in `KINDS`.

        Raises:
            MotesError: if the request cannot be answered.

        Example:
            >>> from motes.explorer.answers import Answers
            >>> from motes.explorer.messages import Limits, Request
            >>> from motes.explorer.subjects import Shelf
            >>> request = Request("table", 1, "", {"table": "penguins"})
            >>> Answers(Shelf(), Limits()).answer(request).header["about"]["name"]
            'penguins'
        """
        found: Answer = getattr(self, f"_{request.what}")(request)
        return found

    def ask(self, **options: Any) -> Answer:
        """Answer a request given by its options, as a page sends them.

        Raises:
            MotesError: if the request is invalid or cannot be answered.

        Example:
            >>> from motes.explorer.answers import Answers
            >>> from motes.explorer.messages import Limits
            >>> from motes.explorer.subjects import Shelf
            >>> Answers(Shelf(), Limits()).ask(what="hello").header["tables"]
            ['penguins']
        """
        return self.answer(Request.of(json.dumps({"number": 0, **options}), KINDS))

    # --- kinds ---

    def _hello(self, request: Request) -> Answer:
        shelf, known = self.shelf, {"samplers": samplers(), "shapes": shapes(), "limits": asdict(self.limits)}
        return Answer({"models": shelf.names, "tables": shelf.tables, "opens": shelf.opens, **known})

    def _open(self, request: Request) -> Answer:
        subject = self._subject(request)
        t, alpha, sigma = subject.clock
        return Answer({"about": subject.about()}, {"t": t, "alpha": alpha, "sigma": sigma})

    def _cloud(self, request: Request) -> Answer:
        """Return real points and their noise, from which the page computes x_t."""
        subject, n, seed = self._subject(request), self._count(request), request.seed
        x = subject.data(n, seed)
        noise = np.random.default_rng([seed, 1]).standard_normal(x.shape) * subject.model.standardiser.scale
        return Answer({}, {"points": x[:, :2], "noise": noise[:, :2]})

    def _chain(self, request: Request) -> Answer:
        chain = self._chain_of(request)
        subject = self._subject(request)
        shown = subject.shown(chain.points.astype(float), chain.times)
        one = kinds_of("sampler")[chain.sampler]()
        return Answer(
            {"evaluations": one.evaluations, "stochastic": bool(one.stochastic), "steps": chain.steps},
            {"clock": subject.places(chain.times), "stops": chain.stops, "points": shown},
        )

    def _distance(self, request: Request) -> Answer:
        """Return the distance of a chain's points to real points with equal noise, and the reference value."""
        subject, chain = self._subject(request), self._chain_of(request)
        require_origin(subject)
        n, times = chain.points.shape[1], chain.times
        key = ("distance", subject.key, chain.sampler, chain.steps, n, request.seed)
        rows = ("real", subject.family, times.tobytes(), n)

        def compute() -> Answer:
            real = self._cache.get(rows, lambda: points.real_points(subject, times, n, request.on_progress))
            return points.distances(subject, chain, real, request.on_progress)

        return self._cache.get(key, compute)

    def _score(self, request: Request) -> Answer:
        """Return the arrows of each side, (cells^2, 2), with comparable lengths from data to noise; see `vectors`."""
        subject, sides = self._sides(request)
        quantity = request.word("quantity", points.QUANTITIES) if "quantity" in request.options else "score"
        t = max(self._time(request, subject), subject.earliest)
        at, u = subject.cells(request.whole("cells", 2, self.limits.cells))
        z = subject.standardised(u, t)
        found = {name: points.vectors(subject, quantity, *points.scores(one, z, t), t) for name, one in sides.items()}
        return Answer({"t": t}, {"at": at, **found})

    def _density(self, request: Request) -> Answer:
        """Return log p of the points as drawn, (cells, cells) for each side, row by row from the bottom."""
        subject, sides = self._sides(request)
        if subject.guidance != 1 and "learned" in sides:
            raise UsageError("guided points have no known density. Set the guidance weight to 1, or choose exact.")
        t = self._time(request, subject)
        at, u = subject.cells(request.whole("cells", 2, self.limits.cells))
        cells, found = len(at[0]), {}
        for name, one in sides.items():
            compute = partial(points.log_density, subject, one, u, t, request.on_progress)
            log_p = self._cache.get(("density", subject.key, name, t, cells), compute)
            found[name] = log_p.reshape(cells, cells)
        return Answer({"t": t}, {"at": at, **found})

    def _probe(self, request: Request) -> Answer:
        """Return E[x_0 | x_t], the score and log p at one point."""
        subject = self._subject(request)
        t = max(self._time(request, subject), subject.earliest)
        u = np.array([request.point("at")])
        found: dict[str, Any] = {"t": t, "at": u[0].tolist()}
        units, zoom = subject.model.standardiser, float(subject.zoom(t))
        for side, denoiser in _sides_of(subject, "learned" if subject.oracle is None else "both").items():
            x0, score = points.scores(denoiser, subject.standardised(u, t), t)
            guided = side == "learned" and subject.guidance != 1  # guided points have no known density
            log_p = np.nan if guided else points.log_density(subject, denoiser, u, t, request.on_progress)[0]
            found[side] = {
                "x0": units.inverse(x0)[0].tolist(),
                "score": (score * zoom / units.scale)[0].tolist(),
                "log_p": float(log_p),
            }
        return Answer(found)

    def _paths(self, request: Request) -> Answer:
        """Return the path of one point by the flow, to data and to noise, and many random paths to the data.

        The path has shape (2 LEGS + 1, 2) for each side, from data to noise; `futures` has shape (many, LEGS + 1, 2),
        from the point to the data. The header has the training point nearest to the path's end at the data.
        """
        subject, sides = self._sides(request)
        many = request.whole("many", 0, self.limits.futures, 0)
        earliest = float(subject.places(np.array(subject.earliest)))
        place = min(max(request.whole("place", 0, PLACES), earliest + 1), PLACES)
        legs = [np.linspace(place, end, LEGS + 1) for end in (0, PLACES)]
        times = [np.interp(leg, np.arange(PLACES + 1), subject.clock[0]) for leg in legs]
        start = jnp.asarray(subject.standardised(np.array([request.point("at")]), times[0][0])[0], float)
        found: dict[str, Array] = {"clock": np.concatenate([legs[0][::-1], legs[1][1:]])}
        for name, denoiser in sides.items():
            ways = [flow_path(denoiser, start, jnp.asarray(each, float)) for each in times]
            down, up = (_to_picture(subject, way, each) for way, each in zip(ways, times, strict=True))
            found[name] = np.concatenate([down[::-1], up[1:]])
        if many:
            keys = jax.random.split(seed_key(request.seed, "paths"), self.limits.futures)
            first = next(iter(sides.values()))  # the learned one, if it is shown
            drawn = sampled_paths(first, EulerMaruyama(), start, jnp.asarray(times[0], float), keys)
            found["futures"] = np.stack([_to_picture(subject, way, times[0]) for way in drawn[:many]])
        end = found[next(iter(sides))][0]
        return Answer({"place": place, "nearest": points.nearest_row(subject, end)}, found)

    def _export(self, request: Request) -> Answer:
        """Return a file to download: as text, or the bytes of a model as base64."""
        form, model = request.word("form", FORMS), self._find_model(request).model
        if form == "page":
            return Answer({"text": page_alone(self._subject(request))})
        if form == "recipe":
            return Answer({"text": model.recipe.to_toml()})
        try:
            with TemporaryDirectory(prefix="motes-explorer-") as folder:
                model.save(Path(folder) / "model.safetensors")
                return Answer({"base64": b64encode(Path(folder, "model.safetensors").read_bytes()).decode()})
        except OSError as error:
            raise UsageError(
                f"no temporary file can be written ({error.strerror or error}). Make room, or start `motes explore` "
                "with TMPDIR set to a folder that has some."
            ) from None

    def _diagnose(self, request: Request) -> Answer:
        """Return the problems of a trained model."""
        return Answer(diagnose_subject(self._find_model(request), self.limits, request.on_progress))

    def _given(self, request: Request) -> Answer:
        """Return points given one coordinate."""
        subject, axis = self._subject(request), request.whole("axis", 0, 1)
        value = request.real("value", *subject.box[axis])
        return points.sample_on_line(subject, axis, value, request.seed, request.on_progress)

    def _table(self, request: Request) -> Answer:
        return Answer({"about": self._table_subject(request).about()})

    def _row(self, request: Request) -> Answer:
        """Return log p of the known cells, and p of every bar of the other columns."""
        subject = self._table_subject(request)
        given = known_cells(request.options.get("row"), len(subject.bars))
        heights = np.concatenate(subject.conditionals(given))
        request.on_progress(Progress(0))
        total, each = subject.log_probs(given)
        return Answer({"log_p": total if given else None, "cells": each}, {"p": heights})

    def _reveal(self, request: Request) -> Answer:
        """Return a draw of all masked cells, in the model's order."""
        subject = self._table_subject(request)
        drawn = subject.reveal(known_cells(request.options.get("row"), len(subject.bars)), request.seed)
        return Answer({"drawn": list(drawn.items())})

    # --- options of a request ---

    def _table_subject(self, request: Request) -> TableSubject:
        return self.shelf.table(request.word("table", self.shelf.tables))

    def _subject(self, request: Request) -> Subject:
        """Return the model, or one of its classes."""
        whole = self._find_model(request)
        if request.options.get("label") is None:
            return whole
        return whole.of_class(request.whole("label", 0, MOST), request.real("guidance", 0.0, self.limits.guidance))

    def _find_model(self, request: Request) -> Subject:
        live = request.live
        if live is None or request.options.get("model") != TRAINING:
            return self.shelf.subject(request.word("model", self.shelf.names))
        averaged = request.word("weights", WEIGHTS) == "averaged"
        return live.subject(request.whole("snapshot", 0, self.limits.training_steps), averaged)

    def _sides(self, request: Request) -> tuple[Subject, dict[str, Denoiser]]:
        """Return the model, and the denoisers of the layer that is requested."""
        subject = self._subject(request)
        return subject, _sides_of(subject, request.word("of", SIDES))

    def _count(self, request: Request) -> int:
        return request.whole("n", 1, self.limits.points)

    def _time(self, request: Request, subject: Subject) -> float:
        """Return the time at a place of the clock."""
        return float(subject.clock[0][request.whole("place", 0, PLACES)])

    def _chain_of(self, request: Request) -> points.Chain:
        subject, n, seed = self._subject(request), self._count(request), request.seed
        sampler = request.word("sampler", kinds_of("sampler"))
        steps = request.whole("steps", 1, self.limits.steps)
        key = ("chain", subject.key, sampler, steps, n, seed)
        return self._cache.get(key, lambda: points.draw(subject, sampler, steps, n, seed, request.on_progress))


def _to_picture(subject: Subject, way: jax.Array, times: Array) -> Array:
    """Convert the path of one point, (k, d) at times (k,), to the coordinates of the picture, (k, 2)."""
    return subject.shown(np.asarray(way, float)[:, None], times)[:, 0]


def _sides_of(subject: Subject, of: str) -> dict[str, Denoiser]:
    """Return the denoisers for a layer by name: the learned one, the exact one, or both.

    Raises:
        UsageError: if the model has no layers, or the exact distribution is unknown.
    """
    if not subject.has_layers:
        raise UsageError(f"'{subject.name}' has {subject.model.dim} columns; layers need a model with two.")
    sides: dict[str, Denoiser] = {} if of == "exact" else {"learned": subject.denoiser}
    if of != "learned":
        if subject.oracle is None:
            raise UsageError(f"'{subject.name}' has no exact distribution; only shapes have one. Choose learned.")
        sides["exact"] = subject.oracle
    return sides


class _Cache:
    """Cache of answers with a maximum size in bytes; the least recently used are removed first."""

    def __init__(self, most: int):
        self._most, self._lock = most, Lock()
        self._answers: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return the answer for a key; compute it if it is not in the cache."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        made = compute()
        with self._lock:
            self._answers.setdefault(key, made)
            while len(self._answers) > 1 and sum(map(_size, self._answers.values())) > self._most:
                self._answers.popitem(last=False)
        return made


def _size(answer: Any) -> int:
    """Return the bytes of an array, of the arrays of an answer, or of those in a tuple."""
    return sum(part.nbytes for part in jax.tree.leaves(answer) if isinstance(part, np.ndarray))
