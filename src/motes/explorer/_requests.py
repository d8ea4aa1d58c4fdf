"""What a page may ask for: one JSON object, of which every value is checked before anything is computed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motes.errors import UsageError

if TYPE_CHECKING:
    from motes.explorer._live import Live


@dataclass(frozen=True)
class Request:
    """One question of a page.

    Attributes:
        what: is asked for.
        number: by which the page knows the answer.
        slot: a new question takes the place of one that waits in the same slot.
        options: everything that was said.
        live: the training of the page that asks, which it may ask about.
    """

    what: str
    number: int
    slot: str
    options: Mapping[str, Any]
    live: Live | None = None

    @classmethod
    def of(cls, text: str, kinds: Collection[str], slots: int = 4) -> Request:
        """Read one.

        Raises:
            UsageError: it is none.
        """
        try:
            options = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise UsageError("got a message that is not JSON; expected an object.") from None
        if not isinstance(options, dict):
            raise UsageError("got JSON that is not an object; expected an object.")
        made = cls("", 0, "", options)
        made.word("what", kinds)
        place = made.whole("panel", 0, slots - 1, 0)
        return cls(options["what"], made.whole("number", 0, 2**31), f"{options['what']} {place}", options)

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number.

        Raises:
            UsageError: it is none, or out of range.
        """
        got = self.options.get(name, default)
        if isinstance(got, bool) or not isinstance(got, int) or not low <= got <= high:
            raise UsageError(f"got {name} = {_short(got)}; expected a whole number from {low:,} to {high:,}.")
        return got

    def real(self, name: str, low: float, high: float) -> float:
        """A number.

        Raises:
            UsageError: it is none, or out of range.
        """
        got = self.options.get(name)
        if isinstance(got, bool) or not isinstance(got, int | float) or not low <= got <= high:
            raise UsageError(f"got {name} = {_short(got)}; expected a number from {low:g} to {high:g}.")
        return float(got)

    def point(self, name: str) -> tuple[float, float]:
        """A point of the plane.

        Raises:
            UsageError: it is none.
        """
        got = self.options.get(name)
        if not (isinstance(got, list) and len(got) == 2 and all(_is_finite(one) for one in got)):
            raise UsageError(f"got {name} = {_short(got)}; expected two numbers.")
        return float(got[0]), float(got[1])

    def points(self, name: str, most: int) -> list[tuple[float, float]]:
        """Points of the plane.

        Raises:
            UsageError: they are none, or too many.
        """
        got = self.options.get(name)
        pairs: list[Any] = got if isinstance(got, list) and len(got) <= most else [None]
        if not all(isinstance(one, list) and len(one) == 2 and all(map(_is_finite, one)) for one in pairs):
            raise UsageError(f"got {name} = {_short(got)}; expected up to {most:,} pairs of numbers.")
        return [(float(x), float(y)) for x, y in pairs]

    def choices(self, name: str, count: int, most: int) -> list[int]:
        """So many whole numbers, from 0 to below `most`.

        Raises:
            UsageError: they are none.
        """
        got = self.options.get(name)
        numbers: list[Any] = got if isinstance(got, list) and len(got) == count else [None]
        if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < most for one in numbers):
            raise UsageError(
                f"got {name} = {_short(got)}; expected {count:,} whole numbers from 0 to {most - 1}, one a point."
            )
        return numbers

    def word(self, name: str, choices: Collection[str]) -> str:
        """One of some words.

        Raises:
            UsageError: it is none of them.
        """
        got = self.options.get(name)
        if not isinstance(got, str) or got not in choices:
            raise UsageError(f"got {name} = {_short(got)}; expected one of {', '.join(choices)}.")
        return got


def _is_finite(one: object) -> bool:
    return isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e9


def _short(got: object) -> str:
    text = repr(got)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _no_number(text: str) -> float:
    raise ValueError(text)
