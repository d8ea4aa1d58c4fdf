"""What one comparison says: how large a difference is, and what its test could detect."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from motes.evaluation._text import capital

Severity = Literal["good", "unknown", "small", "moderate", "large"]
SEVERITIES: tuple[Severity, ...] = ("good", "unknown", "small", "moderate", "large")
DIFFERENCES: tuple[Severity, ...] = ("small", "moderate", "large")

NO_DIFFERENCE = "no difference detected"

GRADES = {  # a difference below the first is small, from the second on large
    "share": (0.02, 0.1),
    "association": (0.05, 0.2),
    "accuracy": (0.05, 0.2),  # beyond one half
    "utility": (0.05, 0.2),  # that is lost
    "likelihood": (0.05, 0.25),  # nats per row and learned column
    "dcr": (0.02, 0.1),  # beyond 5 %
    "copies": (0.01, 0.05),  # beyond the copies that are to be expected
    "distance": (0.05, 0.2),  # standard deviations of the data, beyond the reference value
    "width": (0.05, 0.2),  # of posteriors, beyond 1
    "mmd": (0.005, 0.05),  # beyond the reference value
    "density": (0.1, 0.5),  # as a share of the reference value
}


def graded(size: float, of: str | tuple[float, float]) -> Severity:
    """The severity of a difference that was found, by its size, and by the sizes or the key of `GRADES`."""
    small, large = GRADES[of] if isinstance(of, str) else of
    return DIFFERENCES[int(size >= small) + int(size >= large)]


def worst(severities: Iterable[Severity]) -> Severity:
    """The largest of some severities; "good" if there is none."""
    return max(severities, key=SEVERITIES.index, default="good")


@dataclass(frozen=True)
class Verdict:
    """What one comparison says.

    Attributes:
        severity: the size of the difference; "good" if none was found, "unknown" if there are too few rows.
        text: the difference in words.
        p_value: of a table adjusted for all its tests; None where nothing was tested.
        detectable: the difference that the test finds in 80 of 100 cases.
        seen: `detectable` in words.
    """

    severity: Severity
    text: str
    p_value: float | None = None
    detectable: float | None = None
    seen: str = ""

    @property
    def differs(self) -> bool:
        """A difference was found."""
        return self.severity in DIFFERENCES

    @property
    def with_severity(self) -> str:
        """The text, with the severity of a difference in front."""
        return f"{self.severity}: {self.text}" if self.differs else self.text

    @property
    def with_power(self) -> str:
        """As `with_severity`, with what the test could detect."""
        return f"{self.with_severity}{self._power}"

    @property
    def sentence(self) -> str:
        """The text with what the test could detect."""
        return f"{capital(self.text)}{self._power}."

    @property
    def _power(self) -> str:
        return f" (the test could detect {self.seen} or more)" if self.seen else ""
