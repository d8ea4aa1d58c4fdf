"""The format of text files with rows and columns, such as their separator."""

import codecs
from dataclasses import dataclass, fields, replace
from pathlib import Path

from motes.errors import UsageError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
DECIMALS = (".", ",")


@dataclass(frozen=True)
class TextOptions:
    """The format of a text file. Omitted options take common values, or are detected if only one value fits.

    Attributes:
        sep: Text files: the separator of entries, one character. Default: "," for .csv, a tab for .tsv.
        decimal: Text files: the decimal sign of numbers, "." or ",".
        na: Text files: an additional entry that means "missing", like empty entries, NA, NaN and null. Repeatable.
        date_format: Text files: the format of dates, such as %d/%m/%Y or %m/%d/%Y. Repeatable.
        encoding: Text files: the encoding, such as utf-16 or latin-1. Default: utf-8.

    Raises:
        UsageError: an invalid value.

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
            value = getattr(self, name)  # in a text, each letter would be an option
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.sep == "\\t":  # shells do not convert it to a tab
            object.__setattr__(self, "sep", "\t")
        if self.sep is not None and (len(self.sep) != 1 or self.sep.isalnum() or self.sep in '"\r\n'):
            raise UsageError(
                f"got sep = {self.sep!r}; expected one character other than a letter, digit or quote, such as ';' or "
                "'\\t'."
            )
        if self.decimal not in (None, *DECIMALS):
            raise UsageError(f"got decimal = {self.decimal!r}; expected '.' or ','.")
        for form in self.date_format:
            if "%Y" not in form and "%y" not in form and "%G" not in form:
                raise UsageError(
                    f"got date_format = {form!r}; expected a date format with a year, such as '%d/%m/%Y' for "
                    "31/12/2020."
                )
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise UsageError(
                f"got encoding = {self.encoding!r}; expected one that Python knows, such as 'utf-16' or 'latin-1'."
            ) from None

    def separator(self, path: str | Path) -> str:
        """Return the separator of a file.

        Example:
            >>> motes.data.TextOptions().separator("table.csv"), motes.data.TextOptions(sep=";").separator("table.csv")
            (',', ';')
        """
        return self.sep or SEPARATORS[Path(path).suffix.lower()]

    def over(self, other: "TextOptions") -> "TextOptions":
        """Return these options; omitted ones are taken from `other`.

        Example:
            >>> motes.data.TextOptions(sep=";").over(motes.data.TextOptions(sep="|", decimal=","))
            TextOptions(sep=';', decimal=',', na=(), date_format=(), encoding=None)
        """
        given = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return replace(other, **given)

    def fitting(self, path: str | Path) -> "TextOptions":
        """Return these options for a text file, and default ones for other files, to which they do not apply.

        Example:
            >>> motes.data.TextOptions(sep=";").fitting("table.parquet") == motes.data.TextOptions()
            True
        """
        return self if Path(path).suffix.lower() in SEPARATORS else TextOptions()

    def check_for(self, path: str | Path) -> None:
        """Check that options are given only for text files.

        Raises:
            UsageError: options for another file; the message names the first one.

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
