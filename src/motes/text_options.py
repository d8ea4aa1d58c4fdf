"""How a file is read: the format of a text file, the sheet of a workbook, the query of a database."""

import codecs
from collections.abc import Container
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from motes.errors import UsageError

STDIN = "standard input"  # the name of the source `-` of the command line
SEPARATORS = {".csv": ",", ".tsv": "\t", ".csv.gz": ",", ".tsv.gz": "\t", STDIN: ","}
DATABASES = (".duckdb", ".sqlite", ".sqlite3", ".db")
DECIMALS = (".", ",")


@dataclass(frozen=True)
class TextOptions:
    """How a file is read. Omitted options take common values, or are detected if only one value fits.

    Attributes:
        sep: Text files: the separator of entries, one character. Default: "," for .csv, a tab for .tsv.
        decimal: Text files: the decimal sign of numbers, "." or ",".
        na: Text files: an additional entry that means "missing", like empty entries, NA, NaN and null. Repeatable.
        date_format: Text files: the format of dates, such as %d/%m/%Y or %m/%d/%Y. Repeatable.
        encoding: Text files: the encoding, such as utf-16 or latin-1. Default: utf-8.
        sheet: Excel files: the name of the sheet. Default: the only one with entries.
        sql: Databases and Parquet files: a query whose result is the table, such as "SELECT * FROM orders". The rows of
            a Parquet file are the table `rows`. Default: the only table.

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
    sheet: str | None = None
    sql: str | None = None

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
        return self.sep or SEPARATORS[suffix_of(path)]

    def over(self, other: "TextOptions") -> "TextOptions":
        """Return these options; omitted ones are taken from `other`.

        Example:
            >>> motes.data.TextOptions(sep=";").over(motes.data.TextOptions(sep="|", decimal=","))
            TextOptions(sep=';', decimal=',', na=(), date_format=(), encoding=None, sheet=None, sql=None)
        """
        return replace(other, **self._given)

    @property
    def _given(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}

    def fitting(self, path: str | Path) -> "TextOptions":
        """Return the options that apply to a file, with defaults for the others.

        Example:
            >>> motes.data.TextOptions(sep=";").fitting("table.parquet") == motes.data.TextOptions()
            True
        """
        suffix = suffix_of(path)
        return TextOptions(**{name: one for name, one in self._given.items() if suffix in _readers(name)[0]})

    def check_for(self, path: str | Path) -> None:
        """Check that all options apply to a file.

        Raises:
            UsageError: options for another type of file; the message names the first one.

        Example:
            >>> motes.data.TextOptions(sep=";").check_for("table.parquet")
            Traceback (most recent call last):
                ...
            motes.errors.UsageError: got sep = ';' for 'table.parquet'; expected a text file, a .csv ...
        """
        if self != (fitting := self.fitting(path)):
            name = next(name for name in self._given if getattr(fitting, name) != getattr(self, name))
            raise UsageError(
                f"got {name} = {getattr(self, name)!r} for '{path}'; expected {_readers(name)[1]}: no other "
                f"source has a {name.replace('_', ' ')}. Leave it out."
            )


def suffix_of(source: str | Path) -> str:
    """Return the suffix of a file name in lower case, such as ".csv.gz", or `STDIN` for standard input."""
    if str(source) == STDIN:
        return STDIN
    suffixes = Path(source).suffixes
    return "".join(suffixes[-2:] if suffixes[-1:] in ([".gz"], [".GZ"]) else suffixes[-1:]).lower()


def _readers(option: str) -> tuple[Container[str], str]:
    """Return the suffixes of the files to which an option applies, and these files in words."""
    if option == "sheet":
        return (".xlsx",), "an Excel file, an .xlsx"
    if option == "sql":
        return (*DATABASES, ".parquet"), f"a database or a Parquet file, a {', '.join(DATABASES)} or .parquet"
    return SEPARATORS, "a text file, a .csv or .tsv"
