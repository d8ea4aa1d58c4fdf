"""One thing that is wrong: a name, a number, what it means and how to fix it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        name: short and fixed, to look for in a program.
        value: the number that gave it away.
        meaning: what it means, one sentence.
        fix: the options of `motes train` that fix it; "" where only the data can.

    Example:
        >>> finding = motes.diagnose(motes.make_shape("moons", 1000), "tutorial")[0]
        >>> finding.name, finding.fix.split()[:2]
        ('prior_mismatch', ['--set', 'data.standardise=true'])
    """

    name: str
    value: float
    meaning: str
    fix: str

    def __repr__(self) -> str:
        return f"Finding({self.name!r}, {self.value:.3g})"

    def __str__(self) -> str:
        fix = f" Fix it with {self.fix}" if self.fix else ""
        return f"{self.name} = {self.value:.3g}. {self.meaning}{fix}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> finding = motes.diagnose(motes.make_shape("moons", 1000), "tutorial")[0]
            >>> sorted(finding.to_dict())
            ['fix', 'meaning', 'name', 'value']
        """
        return asdict(self)


def headline(findings: Sequence[Finding]) -> str:
    """The first words of a diagnosis.

    Example:
        >>> headline([])
        'Nothing is wrong that can be seen'
    """
    count = len(findings)
    return f"{count} finding{'s' if count > 1 else ''}" if count else "Nothing is wrong that can be seen"


def named(findings: Sequence[Finding]) -> str:
    """How many findings there are, and which.

    Example:
        >>> named([])
        'no finding'
    """
    names = ", ".join(finding.name for finding in findings)
    return f"{headline(findings)} ({names})" if findings else "no finding"
