"""Formats of numbers and dates that pyarrow does not read: numbers with units and separators, and dates.

A column of texts becomes numbers or dates if all texts match exactly one format.

    "12 %"  "$1,234.00"  "1.234,56"  "(5.00)"  "17.05.2020"  "05/17/2020 3:30 PM"  "17 May 2020"

A text such as "1,234" or "05/06/2020" is ambiguous; other texts of its column may decide between the formats.
"""

import datetime
import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from motes.text_options import TextOptions

CODES = {
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HUF", "INR", "JPY", "KRW", "MXN", "NOK", "NZD",
    "PLN", "RUB", "SEK", "TRY", "USD", "ZAR",
}  # fmt: skip
DIGITS = "0123456789"
LONGEST = 40  # maximum characters of a number or a date
EXAMPLES = 3  # entries to show in advice
AS_LABELS = "and so treated as labels"
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u2212": "-"})
AMOUNT = re.compile(r"([^\d.,+\-]*)([+-]?)([^\d.,+\-]*)(\d[\d.,' ]*|[.,]\d+)([^\d]*)")
DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})")
NAMED = re.compile(r"(?:\d{1,2}|\d{4}|[A-Z][a-z]{2,8})[ .,-].{3,}")
WORD = re.compile(r"[+-]?\d[\d.,']* ?([^\W\d_]{1,5})")
PHONE = re.compile(r"\+[1-9]\d{7,}")
HEX = re.compile(r"[+-]?0[xX][0-9a-fA-F]+")
EXPONENT = re.compile(r"\d{2,}[eE]\d+")  # programs write numbers with one digit before the exponent, or a fraction
WHOLE = r"(?:0|[1-9]\d*|[1-9]\d{0,2}(?P<sign>[%s' ])\d{3}(?:(?P=sign)\d{3})*)"
NUMBERS = {  # decimal sign -> the pattern of numbers with it and one consistent thousands separator
    "": re.compile(WHOLE % ""),
    ".": re.compile(WHOLE % "," + r"?(?:\.\d*)?"),
    ",": re.compile(WHOLE % "." + r"?(?:,\d*)?"),
}
CLOCK = re.compile(r"(,? |T)(\d{1,2}):\d\d(:\d\d)?(\.\d{1,6})?( ?[AaPp][Mm])?( ?(?:Z|[+-]\d\d:?\d\d)| UTC| GMT)?")


@dataclass(frozen=True)
class Plain:
    """Numbers as Python writes them."""

    decimal: ClassVar[str] = "."
    type: ClassVar[Literal["real"]] = "real"

    def value(self, text: str) -> float | None:
        return float(text) if is_number(text) and not is_code(text) else None


@dataclass(frozen=True)
class NumberFormat:
    """Numbers with thousands separators or a unit.

    Attributes:
        decimal: the decimal sign; "" if no text has decimals, nor a "." or "," as a thousands separator.
        unit: a currency or a percent sign that all texts have.
    """

    decimal: str
    unit: str

    @property
    def type(self) -> Literal["real", "whole"]:
        """The type of the resulting series."""
        return "real" if self.decimal else "whole"

    @property
    def words(self) -> str:
        unit = f" without '{self.unit}'" if self.unit else ""
        return f"numbers{unit}" + (f" with the decimal sign '{self.decimal}'" if self.decimal else "")

    def is_requested(self, options: TextOptions) -> bool:
        """Return whether the options request this format."""
        return not self.unit and options.decimal is not None

    def value(self, text: str) -> float | None:
        taken = _parse_amount(text)
        return None if taken is None or taken[0] != self.unit else taken[1].get(self.decimal)


@dataclass(frozen=True)
class Dates:
    """Dates in one or more formats of `datetime.strptime`; if a text matches several, the first is used."""

    forms: tuple[str, ...]

    type: ClassVar[Literal["date"]] = "date"

    @property
    def words(self) -> str:
        return f"dates, {' or '.join(self.forms)}"

    @property
    def days(self) -> bool:
        """Whether the dates have no times of day."""
        return not any(sign in form for form in self.forms for sign in ("%H", "%I", "%M", "%S", "%X", "%c"))

    def is_requested(self, options: TextOptions) -> bool:
        """Return whether the options request these formats."""
        return {*self.forms} <= {*options.date_format}

    def value(self, text: str) -> int | None:
        """Return microseconds since 1970, in UTC if there is a time zone; None if no format matches."""
        return next((value for form in self.forms if (value := _parse_date(text, form)) is not None), None)


def _parse_date(text: str, form: str) -> int | None:
    try:
        moment = datetime.datetime.strptime(text.strip(), form)
    except ValueError:
        return None
    if text.isdigit() and moment.strftime(form) != text:
        return None  # for example seven digits, in which the month could have one or two
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return int(np.datetime64(moment, "us").astype(np.int64))


Way = Plain | NumberFormat | Dates


def ways_of(texts: Iterable[str], options: TextOptions) -> frozenset[Way]:
    """Return the formats that all texts match; none if there are no texts.

    Example:
        >>> ways_of(["31/12/2020", "01/02/2021"], TextOptions())
        frozenset({Dates(forms=('%d/%m/%Y',))})
    """
    others = iter(texts)
    left = _possible_formats(next(others, ""), options)
    for text in others:
        if not left:
            break
        left = frozenset(way for way in left if way.value(text) is not None)
    return left


def chosen(ways: Iterable[Way], options: TextOptions) -> Way | None:
    """Choose the format of a column from the formats that all texts match; None if there is none or it is ambiguous."""
    if options.decimal is not None:
        ways = {way for way in ways if isinstance(way, Dates) or way.decimal in ("", options.decimal)}
    ways = set(ways)
    stated = [Dates((form,)) for form in options.date_format] + [Dates(options.date_format)]
    for way in (Plain(), *stated):
        if way in ways:
            return way
    if unsigned := [way for way in ways if isinstance(way, NumberFormat) and not way.decimal]:
        return unsigned[0]
    alike = {repr(way).replace("%B", "%b"): way for way in sorted(ways, key=repr)}  # May is the same in both
    # A year with two digits is ambiguous even if day and month are known.
    (text, way), *others = alike.items() or [("", None)]
    return None if others or "%y" in text else way


def doubt(labels: Sequence[Any], row_of: Callable[[Any], int] | None = None) -> str | None:
    """Explain why distinct labels (l,) that look like numbers or dates were not read as such; None if they do not.

    The explanation is a phrase that names the option to use. `row_of` returns the row of a label.
    """
    if any(is_code(str(label)) for label in labels):
        return None
    found = {str(label): _possible_formats(str(label), TextOptions()) for label in labels}
    words = {match[1] if (match := WORD.fullmatch(text)) else "" for text in found}
    if len(found) > 1 and len(words) == 1 and (word := words.pop()):
        return f"numbers followed by '{word}', such as '{next(iter(found))}', {AS_LABELS}. Leave '{word}' out"
    read = {text: ways for text, ways in found.items() if ways}
    odd = [label for label in labels if str(label) not in read]
    if 2 * len(odd) > len(found):
        return None
    shared = frozenset.intersection(*read.values())
    count = Counter(way for ways in read.values() for way in ways)
    if Plain() in shared and not odd:
        return None  # numbers may be names, and may have been converted to text on purpose
    forms = [way.forms[0] for way in sorted(count, key=lambda way: (-count[way], repr(way))) if isinstance(way, Dates)]
    units = sorted({way.unit for way in count if isinstance(way, NumberFormat)})
    kind, example, cures = "dates" if forms else "numbers", next(iter(read)), []
    what = f"{kind} such as '{example}', "
    if chosen(shared, TextOptions()) is not None:
        what = kind if odd else f"{kind} written as text, such as '{example}'"
        cures = [] if odd else ["Convert the column"]
    elif forms:
        what += f"in the formats {' or '.join(forms)}"
        cures.append(f"Choose the right ones with {_advise('date_format', forms)}")
    elif len(units) > 1:
        what += f"with the units {', '.join(unit or 'none' for unit in units)}"
        cures.append("Convert them to one unit")
    else:
        what += "whose decimal sign is ambiguous"
        cures.append(f"Choose --decimal=. or {_advise('decimal', ',')}")
    if odd:
        row = "" if row_of is None else f" in row {row_of(odd[0]):,}"
        what += f" except for {len(odd):,} of its labels, such as '{odd[0]}'{row}"
        cures.append(f"If these mean missing entries, leave the entries empty, or use {_advise('na', odd)}")
    return f"{what}, {AS_LABELS}. {'. '.join(cures)}"


def _advise(option: str, values: Any) -> str:
    """Return the same advice for the command line and for Python."""
    values = values if isinstance(values, str) else [str(value) for value in values[:EXAMPLES]]
    flags = " ".join(f"--{option.replace('_', '-')}={shlex.quote(value)}" for value in values)
    return (
        f"{flags} (in Python: changes={{'text.{option}': {values!r}}} for a file, or convert the column of a data "
        "frame)"
    )


def is_number(text: str) -> bool:
    """Return whether a text is a number in Python's format."""
    if not text.isascii() or "_" in text:
        return False  # Python would read 1_000 and digits of other scripts, which are not numbers in a table
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_code(text: str) -> bool:
    """Return whether digits are a code, such as a postal code or a telephone number, rather than a number.

    Codes are texts such as 01234, 0x25, 12E3 and +431234567, and numbers with more than 64 bits.
    """
    text = text.strip()
    if HEX.fullmatch(text) or PHONE.fullmatch(text) or EXPONENT.fullmatch(text):
        return True
    digits = text.lstrip("+-")
    if not text.isascii() or not digits.isdigit():
        return False
    return (len(text) > 1 and text[0] == "0") or len(digits) > 19 or int(digits) >= 2**63


# --- one text -------------------------------------------------------------------------------------------------------


def _possible_formats(text: str, options: TextOptions) -> frozenset[Way]:
    found: set[Way] = {Dates((form,)) for form in options.date_format}
    if options.date_format:
        found.add(Dates(options.date_format))
    if len(text) <= LONGEST and any(map(str.isdigit, text)):
        found |= {Dates((form,)) for form in _possible_date_formats(text.strip())}
        found.add(Plain())
        if (taken := _parse_amount(text)) is not None:
            unit, values = taken
            found |= {NumberFormat(sign, unit) for sign in values}
    return frozenset(way for way in found if way.value(text) is not None)


@lru_cache(1)  # the formats of a column parse the same text one after the other
def _parse_amount(text: str) -> tuple[str, dict[str, float]] | None:
    """Parse a number: return its unit, and its value for each possible decimal sign; None if it is not a number."""
    text = text.translate(SPACES).strip()
    if PHONE.fullmatch(text):
        return None
    negative = text.startswith("(") and text.endswith(")")  # the accounting format
    match = AMOUNT.fullmatch(text[1:-1] if negative else text)
    if match is None:
        return None
    before, sign, between, digits, after = (part.strip() for part in match.groups())
    units = [unit for unit in (before, between, after) if unit]
    if len(units) > 1 or (units and not _is_unit(units[0])) or (negative and sign):
        return None
    values = {}
    for decimal, pattern in NUMBERS.items():
        if pattern.fullmatch(digits):
            plain = "".join("." if sign == decimal else sign for sign in digits if sign in (decimal, *DIGITS))
            if is_code(plain):
                return None
            values[decimal] = float(plain) * (-1 if negative or sign == "-" else 1)
    return (units[0] if units else "", values) if values else None


def _is_unit(text: str) -> bool:
    return text in CODES or (len(text) == 1 and (text in "%‰" or unicodedata.category(text) == "Sc"))


def _possible_date_formats(text: str) -> list[str]:
    """Return the date formats that a text might have."""
    at = re.search(r"(,? |T)\d{1,2}:", text)
    day, clock = (text, "") if at is None else (text[: at.start()], _time_format(text[at.start() :]))
    if clock is None:
        return []
    if match := DATE.fullmatch(day):
        first, sep, _, last = match.groups()
        if len(first) == 4:
            orders = ["%Y{0}%m{0}%d"]
        elif len(last) == 4:
            orders = ["%d{0}%m{0}%Y", "%m{0}%d{0}%Y"]
        else:
            orders = ["%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d"]
        return [order.format(sep) + clock for order in orders]
    made: list[str] = []
    for month in ("%B", "%b") if NAMED.fullmatch(day) else ():
        made += [f"%d {month} %Y", f"%d. {month} %Y", f"%d-{month}-%Y", f"%d-{month}-%y", f"{month} %d, %Y"]
        made += [f"{month} %d %Y", f"%Y-{month}-%d", f"%Y {month} %d"]
    return [form + clock for form in made]


def _time_format(text: str) -> str | None:
    """Return the format of a time of day, including the separator before it; None if it is not a time of day."""
    if (match := CLOCK.fullmatch(text)) is None:
        return None
    before, _, seconds, part, half, zone = match.groups()
    if part and not seconds:
        return None
    made = before + ("%I" if half else "%H") + ":%M" + (":%S" if seconds else "") + (".%f" if part else "")
    made += "" if not half else " %p" if half.startswith(" ") else "%p"
    if zone in (None, " UTC", " GMT"):  # times are read as UTC anyway
        return made + (zone or "")
    return made + (" %z" if zone.startswith(" ") else "%z")


def default_columns(dim: int) -> tuple[str, ...]:
    """Return the default column names: x, y for two columns, otherwise x0, x1, ..."""
    return ("x", "y") if dim == 2 else tuple(f"x{j}" for j in range(dim))
