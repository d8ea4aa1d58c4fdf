"""How a text file of rows and columns is written, as far as its reader does not know it."""

import codecs
from dataclasses import dataclass, fields, replace
from pathlib import Path

from motes.errors import UsageError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
DECIMALS = (".", ",")


@dataclass(frozen=True)
class TextOptions:
    """How a text file is written. What is left out is what most files have, or is found where only one reading fits.

    Attributes:
        sep: Of a text file: what separates entries, one character; "," for .csv and a tab for .tsv if left out.
        decimal: Of a text file: the decimal sign of its numbers, "." or ",".
        na: Of a text file: an entry that means "missing", besides empty ones, NA, NaN and null. Repeatable.
        date_format: Of a text file: how dates are written, such as %d/%m/%Y or %m/%d/%Y. Repeatable.
        encoding: Of a text file: such as utf-16 or latin-1; utf-8 if left out.

    Raises:
        UsageError: a value that the option cannot have.

    Example:
        >>> motes.data.TextOptions(sep=";", decimal=",").separator("table.csv")
        ';'
    """

    sep: str | None = None
    decimal: str | None = None
    na: tuple[str, ...] = ()
    date_format: tuple[str, ...] = ()
    encoding: str | None = None

    def __post_init__(self) -> None:
        for name in ("na", "date_format"):
            if isinstance(value := getattr(self, name), str):  # which would be as many options as it has letters
                object.__setattr__(self, name, (value,))
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.sep == "\\t":  # which a shell does not turn into a tab
            object.__setattr__(self, "sep", "\t")
        if self.sep is not None and (len(self.sep) != 1 or self.sep.isalnum() or self.sep in '"\r\n'):
            raise UsageError(
                f"got sep = {self.sep!r}; expected one character that is no letter, digit or quote, such as ';' or "
                "'\\t'."
            )
        if self.decimal not in (None, *DECIMALS):
            raise UsageError(f"got decimal = {self.decimal!r}; expected '.' or ','.")
        for form in self.date_format:
            if "%Y" not in form and "%y" not in form and "%G" not in form:
                raise UsageError(
                    f"got date_format = {form!r}; expected the signs of a date with a year, such as '%d/%m/%Y' for "
                    "31/12/2020."
                )
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise UsageError(
                f"got encoding = {self.encoding!r}; expected one that Python knows, such as 'utf-16' or 'latin-1'."
            ) from None

    def separator(self, path: str | Path) -> str:
        """What separates the entries of a file.

        Example:
            >>> motes.data.TextOptions().separator("table.csv"), motes.data.TextOptions(sep=";").separator("table.csv")
            (',', ';')
        """
        return self.sep or SEPARATORS[Path(path).suffix.lower()]

    def over(self, other: "TextOptions") -> "TextOptions":
        """These options, and those of `other` where they are left out here.

        Example:
            >>> motes.data.TextOptions(sep=";").over(motes.data.TextOptions(sep="|", decimal=","))
            TextOptions(sep=';', decimal=',', na=(), date_format=(), encoding=None)
        """
        given = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return replace(other, **given)

    def fitting(self, path: str | Path) -> "TextOptions":
        """These options for a text file, and none for any other: what a run remembers says nothing of Parquet.

        Example:
            >>> motes.data.TextOptions(sep=";").fitting("table.parquet") == motes.data.TextOptions()
            True
        """
        return self if Path(path).suffix.lower() in SEPARATORS else TextOptions()

    def check_for(self, path: str | Path) -> None:
        """Refuse options for what is no text file.

        Raises:
            UsageError: it names the first option.

        Example:
            >>> motes.data.TextOptions(sep=";").check_for("table.parquet")
            Traceback (most recent call last):
                ...
            motes.errors.UsageError: got sep = ';' for 'table.parquet'; expected a text file, a .csv ...
        """
        if self != self.fitting(path):
            name = next(one.name for one in fields(self) if getattr(self, one.name) != one.default)
            raise UsageError(
                f"got {name} = {getattr(self, name)!r} for '{path}'; expected a text file, a .csv or .tsv: no other "
                f"source has a {name.replace('_', ' ')}. Leave it out."
            )
