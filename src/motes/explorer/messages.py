"""Messages over the socket, JSON to the server and binary frames of float32 to the page, and limits of their work.

A frame consists of the length of its header (uint32, little-endian), the header (JSON in UTF-8, padded with spaces to a
multiple of 4 bytes), and the arrays named in the header, one after another (float32, little-endian).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from motes.encoding import encode
from motes.errors import UsageError
from motes.progress import OnProgress, silent

PANELS = 4  # panels of a page, each with its own slot for each kind of request


@dataclass(frozen=True)
class Limits:
    """Maximum values of requests; a larger request is answered with an error and nothing is computed.

    Attributes:
        points: points of a cloud.
        steps: steps of a sampler.
        cells: cells along one side of a grid.
        futures: random paths of one point.
        guidance: weight of guidance.
        sockets: open pages.
        trainings: simultaneous trainings.
        training_steps: steps of one training.
        rows: training rows.
        batch: batch size of a training.
        schedule_steps: steps of a discrete schedule.
        width: width of a network.
        depth: depth of a network.
        layers: layers of all networks of a model together.
        number: any other whole number of a recipe.
        nodes: points of a drawing.
        upload: bytes of a file.
        columns: columns of a file.
        message: bytes of one request.
        kept: bytes of cached answers.
        address: bytes of an address.
        seconds: time in which a request must arrive.

    Example:
        >>> from motes.explorer.messages import Limits
        >>> Limits(points=5_000).points
        5000
    """

    points: int = 20_000
    steps: int = 256
    cells: int = 64
    futures: int = 32
    guidance: float = 20.0
    sockets: int = 16
    trainings: int = 4
    training_steps: int = 20_000
    rows: int = 100_000
    batch: int = 2_048
    schedule_steps: int = 1_000
    width: int = 128
    depth: int = 8
    layers: int = 32
    number: int = 64
    nodes: int = 1_500
    upload: int = 4_000_000
    columns: int = 20
    message: int = 65_536
    kept: int = 120_000_000
    address: int = 4_096
    seconds: float = 10.0


class Answer(NamedTuple):
    """Answer to a request: a header, and arrays by name.

    Example:
        >>> from motes.explorer.messages import Answer
        >>> Answer({"t": 0.5}).header["t"]
        0.5
    """

    header: dict[str, Any]
    arrays: Mapping[str, ArrayLike] = MappingProxyType({})

    def to_bytes(self) -> bytes:
        """Return the frame. In the header, numbers that are not finite become null, since JSON has no such numbers.

        Example:
            >>> from motes.explorer.messages import Answer
            >>> len(Answer({}, {"points": np.zeros((5, 2))}).to_bytes()) % 4
            0
        """
        whole = {name: np.asarray(array, dtype="<f4", order="C") for name, array in self.arrays.items()}
        shapes = [{"name": name, "shape": array.shape} for name, array in whole.items()]
        text = json.dumps(encode({**self.header, "arrays": shapes}), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in whole.values())])


@dataclass(frozen=True)
class Request:
    """A request of a page.

    Attributes:
        what: the kind of request.
        number: number of the request, repeated in its answer.
        slot: a new request replaces a waiting one in the same slot.
        options: all options of the request.
        live: the `motes.explorer.live.Live` training of the page that asks, if there is one.
        on_progress: called regularly while the request is answered; raise an exception in it to stop the work.

    Example:
        >>> from motes.explorer.messages import Request
        >>> Request("cloud", 1, "", {"n": 5}).options["n"]
        5
    """

    what: str
    number: int
    slot: str
    options: Mapping[str, Any]
    live: Any = None
    on_progress: OnProgress = silent

    @classmethod
    def of(cls, text: str, kinds: Collection[str]) -> Request:
        """Parse a request.

        Raises:
            UsageError: if it is invalid.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request.of('{"what": "cloud", "number": 3, "n": 5}', ["cloud"]).number
            3
        """
        try:
            options = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise UsageError("got a message that is not JSON; expected an object.") from None
        if not isinstance(options, dict):
            raise UsageError("got JSON that is not an object; expected an object.")
        made = cls("", 0, "", options)
        made.word("what", kinds)
        place = made.whole("panel", 0, PANELS - 1, 0)
        return cls(options["what"], made.whole("number", 0, 2**31), f"{options['what']} {place}", options)

    @property
    def seed(self) -> int:
        """The seed in the options.

        Raises:
            UsageError: if it is not a whole number or out of range.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("cloud", 1, "", {"seed": 5}).seed
            5
        """
        return self.whole("seed", 0, 2**32 - 1)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return an option as a whole number.

        Raises:
            UsageError: if it is not a whole number or out of range.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("cloud", 1, "", {"n": 5}).whole("n", 1, 10)
            5
        """
        fits = lambda got: _is_number(got, int) and low <= got <= high
        return int(self._option(name, fits, f"a whole number from {low:,} to {high:,}", default))

    def real(self, name: str, low: float, high: float) -> float:
        """Return an option as a number.

        Raises:
            UsageError: if it is not a number or out of range.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("open", 1, "", {"guidance": 2}).real("guidance", 0, 10)
            2.0
        """
        fits = lambda got: _is_number(got) and low <= got <= high
        return float(self._option(name, fits, f"a number from {low:g} to {high:g}"))

    def point(self, name: str) -> tuple[float, float]:
        """Return an option as a point of the plane.

        Raises:
            UsageError: if it is not a point.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("probe", 1, "", {"at": [1, 2]}).point("at")
            (1.0, 2.0)
        """
        x, y = self._option(name, _is_point, "two numbers")
        return float(x), float(y)

    def points(self, name: str, most: int) -> list[tuple[float, float]]:
        """Return an option as points of the plane.

        Raises:
            UsageError: if they are not points, or too many.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("train", 1, "", {"sketch": [[1, 2], [3, 4]]}).points("sketch", most=10)
            [(1.0, 2.0), (3.0, 4.0)]
        """
        fits = lambda got: isinstance(got, list) and len(got) <= most and all(map(_is_point, got))
        return [(float(x), float(y)) for x, y in self._option(name, fits, f"up to {most:,} pairs of numbers")]

    def choices(self, name: str, count: int, most: int) -> list[int]:
        """Return an option as `count` whole numbers from 0 to `most` - 1.

        Raises:
            UsageError: if it is anything else.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("train", 1, "", {"colours": [0, 3]}).choices("colours", count=2, most=4)
            [0, 3]
        """
        each = lambda got: all(_is_number(one, int) and 0 <= one < most for one in got)
        fits = lambda got: isinstance(got, list) and len(got) == count and each(got)
        return list(self._option(name, fits, f"{count:,} whole numbers from 0 to {most - 1}, one per point"))

    def word(self, name: str, choices: Collection[str]) -> str:
        """Return an option that is one of the `choices`.

        Raises:
            UsageError: if it is not one of them.

        Example:
            >>> from motes.explorer.messages import Request
            >>> Request("score", 1, "", {"of": "both"}).word("of", ["learned", "both"])
            'both'
        """
        fits = lambda got: isinstance(got, str) and got in choices
        return str(self._option(name, fits, f"one of {', '.join(choices)}"))

    def _option(self, name: str, fits: Callable[[Any], bool], expected: str, default: Any = None) -> Any:
        """Return the value of an option; raise a UsageError unless it fits."""
        got = self.options.get(name, default)
        if not fits(got):
            text = repr(got)
            short = text if len(text) <= 40 else f"{text[:37]}..."
            raise UsageError(f"got {name} = {short}; expected {expected}.")
        return got


def _is_number(got: Any, kind: Any = int | float) -> bool:
    return isinstance(got, kind) and not isinstance(got, bool)


def _is_point(got: Any) -> bool:
    return isinstance(got, list) and len(got) == 2 and all(_is_number(one) and abs(one) < 1e9 for one in got)


def _refuse_constant(text: str) -> float:
    raise ValueError(text)
