"""Rules that the rows obey, found without asking, as lines in the grammar of `user_rules`.

    total == round(fee * seats, 2)    band == "30-49" -> 30 <= age < 50    one_hot(red, green, blue)    start <= end

Candidates are found in a few rows. A candidate is offered if it holds in nearly all rows, and if, with the entries of
any of its columns shuffled, as many rows would obey it less than once in e^20 tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, pairwise, permutations, product
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import Series
from motes.data.points import content_keys
from motes.tables.kinds.base import Kind
from motes.tables.parts import Array
from motes.tables.relations import BROKEN, EXPECTED, FEWER, WIDEST, extrapolate_rows, few_of_each, find_sums
from motes.tables.schema import Schema
from motes.tables.user_rules import UserRule, parse_rule, quoted

OFFERED = 0.95  # minimum share of the rows with observed entries in which a rule holds
SURE = 20.0  # nats: the evidence that one candidate needs; the logarithm of the number of candidates is added
LOOKED = 2000  # rows for sums and for the evidence,
FIRST = 400  # for products,
GLANCE = 40  # and for a first look at them
TRIPLES = 16  # maximum number of columns among which products of three are sought
LABELS = 20  # maximum number of labels that follow from a number
DECIMALS = 6  # maximum number of decimals of a rounded column,
FACTOR = 4  # and of a factor
CHANCE = 0.1  # maximum number of factors with as few decimals that would fit by chance
PERCENT = 100.0
MOST = 100  # maximum number of chains that begin with one column
MATTERS = 0.05  # minimum share of rows that break an inequality with a sum if a column of it comes from other rows
SUMS = 32  # maximum number of columns among which such inequalities are sought


@dataclass(frozen=True)
class FoundRule:
    """A rule that holds in the rows; `str(found)` is its text, and `motes.fit(data, rules=...)` accepts it.

    Attributes:
        rule: the rule.
        share: the share of the rows with observed entries in which it holds.

    Example:
        >>> from motes.tables import find_rules
        >>> fee = np.arange(1, 41) % 7 + 1.5
        >>> found = find_rules({"fee": fee, "seats": np.arange(40) % 11, "total": fee * (np.arange(40) % 11)})[0]
        >>> print(found, found.share)
        total == fee * seats 1.0
    """

    rule: UserRule
    share: float

    def __str__(self) -> str:
        return str(self.rule)


def find_rules(data: Any, schema: Schema | None = None) -> list[FoundRule]:
    """Find rules that hold in nearly all rows, and not by chance.

    These are sums of any number of columns, products, ratios and percentages, also rounded; the year, month or day of a
    date, and days between two dates; labels that follow from a number; one-hot groups; and chains of columns in rising
    order.

    Args:
        data: n rows, in any kind of table.
        schema: their schema, if known.

    Example:
        >>> from motes.tables import find_rules
        >>> start = np.arange(60) * 37 % 50
        >>> [str(one.rule) for one in find_rules({"start": start, "days": start % 7, "end": start + start % 7})][:1]
        ['end == start + days']
    """
    frame = as_frame(data)
    schema = schema or Schema.fit(frame)
    frame = frame.select([*schema.learned])
    frame = frame.take(np.argsort(content_keys(frame), kind="stable"))  # so that the order of the rows does not matter
    order = np.random.default_rng([0, 314159]).permutation(len(frame))
    return _Search(frame, schema.kinds, frame.take(order[:LOOKED])).run(schema)


@dataclass
class _Search:
    """The search for rules.

    Attributes:
        frame: all rows.
        kinds: the kinds of their columns.
        some: a few of the rows.
    """

    frame: Frame
    kinds: Sequence[Kind]
    some: Frame

    def run(self, schema: Schema) -> list[FoundRule]:
        numbers = [kind for kind in self.kinds if kind.measure == "number"]
        self.x = {kind.column: _values(self.some, kind.column) for kind in numbers}
        self.digits = {kind.column: _decimals(kind.step) for kind in numbers}
        flags = [name for name, x in self.x.items() if len(np.unique(x[~np.isnan(x)])) == 2]
        names = [name for name in self.x if name not in flags][:WIDEST]
        found = list[FoundRule]()
        explained = set[str]()
        for target, texts in [*self._sums(names), *self._parts_of_dates(names)]:
            offer = next(filter(None, map(self._offer, texts)), None)
            if offer is not None:
                found.append(offer)
                explained |= {target} if len(offer.rule.columns) == 2 else set()
        plain = [name for name in names if name not in explained]  # not a copy of another column
        found += self._products(plain)
        known = [{*one.rule.columns} for one in found]
        explained |= {columns for one in found if len(one.rule.columns) == 2 for columns in one.rule.columns[:1]}
        found += self._labels(flags, plain)
        found += self._one_hot(flags)
        known = [columns for columns in known if columns <= {*names}]
        return found + self._chains(schema, explained, known) + self._bounds(plain, known)

    def _offer(self, text: str, candidates: int = 1000) -> FoundRule | None:
        """Return the rule with its share if it holds in nearly all rows, and not by chance."""
        rule = parse_rule(text)
        columns = {name: self.some.columns[name] for name in rule.columns}
        n, kept = _count(rule, columns)
        if kept < max(OFFERED * n, 1):
            return None
        place = np.random.default_rng([0, 141421]).permutation(len(self.some))
        for name, series in columns.items():
            m, chance = _count(rule, {**columns, name: series.take(place)})
            if n * _divergence(kept / n, min((chance + 1) / (m + 1), kept / n)) < SURE + log(candidates):
                return None
        return self._found(rule)

    def _found(self, rule: UserRule) -> FoundRule | None:
        n, kept = _count(rule, self.frame.columns)
        return FoundRule(rule, kept / n) if n and kept >= OFFERED * n else None

    def _rounded(self, target: str, value: str, digits: int | None) -> list[str]:
        """Return the claims that the column is a value with so many decimals, or this rounded; None: not rounded."""
        own = self.digits[target]
        plain = f"{quoted(target)} == {value}"
        rounded = [] if own is None else [f"{quoted(target)} == round({value}, {own})"]
        return [*rounded, plain] if own is not None and (digits is None or digits > own) else [plain, *rounded]

    # --- sums ---

    def _sums(self, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield columns that are sums and differences of columns before them, with the rules that say so."""
        for target, sums in find_sums({name: self.x[name] for name in names}):
            texts = (text for terms, constant in sums for text in self._sum_texts(terms, constant))
            yield target, list(dict.fromkeys(texts))

    def _sum_texts(self, signs: Mapping[str, int], constant: float) -> list[str]:
        """Return the rules for sum of signs * columns = -constant, solved for a column if this leaves no minus.

        If rounding each of the columns explains by how much rows miss it, there is one more rule.
        """
        names = [name for name in self.x if name in signs]
        off = np.sum([signs[name] * self.x[name] for name in names], axis=0) + constant
        off = off[~np.isnan(off)]
        plus = [name for name in names if signs[name] > 0]
        minus = [name for name in names if signs[name] < 0]
        if not plus or (len(minus) != 1 and len(plus) == 1):
            plus, minus, constant = minus, plus, -constant
        digits = [self.digits[name] for name in (*plus, *minus)]
        units = sum(10.0**-d for d in digits if d is not None)  # each column is off by half a unit at most
        rounded = None not in digits and (np.abs(off) <= units / 2 * (1 + 1e-6)).mean() >= OFFERED
        coarse = int(np.floor(1e-9 - np.log10(units))) if rounded else 0  # the most decimals that hide this
        total = " + ".join(map(quoted, plus))
        if not minus:
            about = [f"round({total}, {coarse}) == {_number(round(-constant, coarse))}"] if rounded else []
            return [f"{total} == {_number(-constant)}", *about]
        target, *less = minus
        value = total + "".join(f" - {quoted(name)}" for name in less)
        value += f" {'-' if constant < 0 else '+'} {_number(abs(constant))}" if constant else ""
        own = [self.digits[name] for name in (*plus, *less)]
        about = [f"round({value} - {quoted(target)}, {coarse}) == 0"] if rounded else []
        return [*self._rounded(target, value, None if None in own else max(own)), *about]  # type: ignore[type-var]

    # --- dates ---

    def _parts_of_dates(self, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        dates = [kind.column for kind in self.kinds if kind.measure == "date"]
        for name in names:
            if self.digits[name] == 0:
                for date in dates:
                    yield name, [f"{quoted(name)} == {part}({quoted(date)})" for part in ("year", "month", "day")]
            for start, end in permutations(dates, 2):
                yield name, self._rounded(name, f"{quoted(end)} - {quoted(start)}", 0)[:1]

    # --- products ---

    def _products(self, names: Sequence[str]) -> list[FoundRule]:
        """Find columns that are products and ratios of others."""
        x = np.stack([self.x[name][:FIRST] for name in names], axis=1) if names else np.empty((0, 0))
        half = np.array([0.5 * 10.0**-d if (d := self.digits[name]) is not None else 0.0 for name in names])
        found, known = list[FoundRule](), set[frozenset[str]]()

        def check(value: Array, text: str, operands: Sequence[str]) -> None:
            for j in _columns_equal_to(value, x, half):
                columns = frozenset((*operands, names[j]))
                if names[j] in operands or any(before <= columns for before in known):
                    continue
                digits = None if "/" in text else sum(self.digits[name] or 0 for name in operands)
                digits = None if any(self.digits[name] is None for name in operands) else digits
                for line in self._rounded(names[j], text, digits):
                    if (offer := self._offer(line, len(names) ** 3)) is not None:
                        found.append(offer)
                        known.add(columns)
                        break

        with np.errstate(all="ignore"):
            for a, b in combinations(range(len(names)), 2):
                check(x[:, a] * x[:, b], f"{quoted(names[a])} * {quoted(names[b])}", (names[a], names[b]))
            for a, b in permutations(range(len(names)), 2):
                pair = names[a], names[b]
                check(x[:, a] / x[:, b], f"{quoted(names[a])} / {quoted(names[b])}", pair)
                check(x[:, a] / x[:, b] * PERCENT, f"{quoted(names[a])} / {quoted(names[b])} * 100", pair)
                check(x[:, a] / x[:, b] ** 2, f"{quoted(names[a])} / ({quoted(names[b])} * {quoted(names[b])})", pair)
                self._find_factor(x[:, a], x[:, b], half[a], half[b], pair, found, known)
            for three in combinations(range(len(names) if len(names) <= TRIPLES else 0), 3):
                some = [names[j] for j in three]
                check(x[:, three].prod(axis=1), " * ".join(map(quoted, some)), some)
        return found

    def _find_factor(
        self, a: Array, b: Array, half_a: float, half_b: float, pair: tuple[str, str], found: list[FoundRule],
        known: set[frozenset[str]],
    ) -> None:  # fmt: skip
        """Find whether the column b is a fixed multiple of the column a."""
        here = (a != 0) & ~np.isnan(a) & ~np.isnan(b)
        if not here.any() or frozenset(pair) in known:
            return
        a, b = a[here], b[here]
        ratio = np.median(b / a)
        near = lambda value, other, half: np.abs(value - other) <= half + 1e-6 * np.abs(value)
        fits = lambda *values: near(*values).mean() >= OFFERED
        if ratio == 0 or not fits(b, ratio * a, half_b) or (abs(ratio) < 1 and fits(a, b / ratio, half_a)):
            return  # of two exact multiples, the larger one is the product
        for digits in range(FACTOR + 1):
            factor = round(float(ratio), digits)
            kept = near(b, factor * a, half_b)
            low, high = (b / a - half_b / np.abs(a))[kept], (b / a + half_b / np.abs(a))[kept]
            allowed = high.min(initial=np.inf) - low.max(initial=-np.inf)  # factors that fit these rows as well
            by_chance = allowed > CHANCE * 10.0**-digits and not fits(b, factor * a, 0.0)
            if by_chance or kept.sum() < near(b, ratio * a, half_b).sum():
                continue
            own = self.digits[pair[0]]
            texts = self._rounded(
                pair[1], f"{quoted(pair[0])} * {_number(factor)}", None if own is None else own + digits
            )
            if factor != 1 and (offer := next(filter(None, map(self._offer, texts)), None)) is not None:
                found.append(offer)
                known.add(frozenset(pair))
                return

    # --- labels ---

    def _labels(self, flags: Sequence[str], numbers: Sequence[str]) -> list[FoundRule]:
        """Find labels that follow from a number: each has an interval of its own."""
        found = list[FoundRule]()
        for kind in self.kinds:
            series = self.some.columns[kind.column]
            codes = np.where(series.missing, -1, series.values).astype(np.int64)
            texts = {code: _text(str(label)) for code, label in enumerate(series.labels)}
            if series.type == "truth" or kind.column in flags:
                texts = {int(value): _number(float(value)) for value in np.unique(series.known)}
                codes = np.where(series.missing, min(texts) - 1, codes)
            elif series.type != "label" or not all(isinstance(label, str) for label in series.labels):
                continue
            if not 2 <= len(np.unique(series.known)) <= LABELS:
                continue
            for name in numbers:
                x, here = self.x[name], ~np.isnan(self.x[name]) & ~series.missing
                if name == kind.column or not 1 < len(np.unique(codes[here])) < len(np.unique(x[here])):
                    continue
                x, own = x[here], codes[here]
                if _bands(x[:FIRST], own[:FIRST]) is None or (bands := _bands(x, own)) is None:
                    continue
                each = [(quoted(kind.column), texts[code], _interval(name, *ends)) for code, ends in bands]
                claims = [f"{label} == {text} -> {within}" for label, text, within in each]
                every = " or ".join(f"({label} == {text} and {within})" for label, text, within in each)
                if (whole := self._offer(every)) is not None and whole.share >= 1 - BROKEN:
                    found += filter(None, map(self._found, map(parse_rule, claims)))
                    break
        return found

    def _one_hot(self, flags: Sequence[str]) -> list[FoundRule]:
        """Find groups of columns of which exactly one is 1 in each row."""
        some = {kind.column: self.some.columns[kind.column] for kind in self.kinds}
        binary = {
            name: np.where(one.missing, 0, one.values).astype(np.int64)
            for name, one in some.items()
            if one.type == "truth" or (name in flags and set(np.unique(one.known).tolist()) == {0, 1})
        }
        found, used = list[FoundRule](), set[str]()
        for first in binary:
            by_share = sorted(binary, key=lambda name: -binary[name].sum())
            for order in ([*binary], by_share):
                group, total = [first], binary[first].copy()
                for name in order:
                    if name not in group and (total & binary[name]).sum() <= (1 - OFFERED) / 2 * binary[name].sum():
                        group.append(name)
                        total |= binary[name]
                group = [name for name in binary if name in group]
                if not {*group} & used and len(group) > 1:
                    offer = self._offer(f"one_hot({', '.join(map(quoted, group))})")
                    if offer is not None:
                        found.append(offer)
                        used |= {*group}
        return found

    # --- chains ---

    def _chains(self, schema: Schema, copies: set[str], known: Sequence[set[str]]) -> list[FoundRule]:
        """Return the inequalities between two columns as chains, the longest first.

        Columns that follow from one other column are left out, and pairs of numbers that a rule in `known` determines.
        """
        above: dict[str, set[str]] = {}
        for one in schema.inequalities:
            if not {*one.columns} & copies and not any({*one.columns} <= columns for columns in known):
                above.setdefault(one.low, set()).add(one.high)
        direct = {
            low: [high for high in highs if not any(high in above.get(other, ()) for other in highs - {high})]
            for low, highs in above.items()
        }
        chains, covered = list[list[str]](), set[tuple[str, str]]()

        def walk(path: list[str]) -> Iterator[list[str]]:
            rest = [high for high in direct.get(path[-1], []) if high not in path]
            if not rest:
                yield path
            for high in rest:
                yield from walk([*path, high])

        for low in direct:
            chains += islice(walk([low]), MOST)
        found = list[FoundRule]()
        for chain in sorted(chains, key=lambda path: -len(path)):
            pairs = {*pairwise(chain)}
            if not pairs <= covered:
                covered |= pairs
                offer = self._found(parse_rule(" <= ".join(map(quoted, chain))))
                found += [offer] if offer else []
        return found

    # --- bounds ---

    def _bounds(self, names: Sequence[str], known: Sequence[set[str]]) -> list[FoundRule]:
        """Find numbers that are hardly ever greater, or less, than the sum of two others.

        Such an inequality needs many rows close to equality and hardly any beyond it, as in `relations`. And each of
        the three columns must matter: taken from other rows, it breaks the inequality. Numbers that rules in `known`
        determine together are left out.
        """
        names, together = names[:SUMS], list[set[str]]()
        for columns in known:  # together: the columns of rules that share some
            apart = [others for others in together if not others & columns]
            together = [*apart, columns.union(*(others for others in together if others & columns))]
        x = np.stack([self.x[name] for name in names], axis=1) if names else np.empty((0, 0))
        mixed, found = np.roll(x, len(x) // 2, axis=0), list[tuple[float, str]]()
        broken = lambda gap: (gap < 0).mean(axis=0)
        for (i, k), sign in product(combinations(range(len(names)), 2), (1, -1)):
            gap, *moved = (sign * ((a[:, i] + b[:, k])[:, None] - x) for a, b in ((x, x), (mixed, x), (x, mixed)))
            few = (broken(gap) <= BROKEN) & (np.minimum(*map(broken, moved)) >= MATTERS)
            for j in map(int, np.flatnonzero(few)):
                a, b, c = names[i], names[k], names[j]
                if j in (i, k) or any({a, b, c} <= columns for columns in together):
                    continue
                own = gap[(x[:, [i, k, j]] != 0).all(axis=1), j]  # with a 0, two may be equal for another reason
                rows, band = extrapolate_rows(own[own >= 0])
                if rows >= max(EXPECTED, FEWER * ((own < 0) & (own >= -band)).sum()):
                    total, bound = f"{quoted(a)} + {quoted(b)}", quoted(c)
                    found.append((rows, f"{bound} <= {total}" if sign > 0 else f"{total} <= {bound}"))
        texts = (text for _, text in sorted(found, key=lambda one: -one[0]))
        offers = filter(None, (self._found(parse_rule(text)) for text in texts))
        return [*few_of_each(offers, lambda one: one.rule.columns)]


def _count(rule: UserRule, columns: Mapping[str, Series]) -> tuple[int, int]:
    """Return the number of rows in which all columns of a rule are observed, and of those that obey it."""
    frame = Frame({name: columns[name] for name in rule.columns})
    known = ~np.logical_or.reduce([series.missing for series in frame.columns.values()])
    return int(known.sum()), int((known & ~rule.breaks(frame)).sum())


def _values(frame: Frame, column: str) -> Array:
    """Return the numbers of a column, (n,) as float64; NaN if missing."""
    series = frame.columns[column]
    return np.where(series.missing, np.nan, series.values.astype(np.float64))


def _decimals(step: float | None) -> int | None:
    """Return the number of decimals of a column with this step; None if it is not rounded."""
    if step is None:
        return None
    return next((d for d in range(DECIMALS + 1) if abs(step * 10.0**d - round(step * 10.0**d)) < 1e-6), None)


def _number(value: float) -> str:
    """Format a number as in a rule."""
    return f"{value:.12g}"


def _text(label: str) -> str:
    """Format a text as in a rule, in double quotes, since shells need single ones."""
    return repr(label) if {*label} & {*'"\\\n\r\t'} else f'"{label}"'


def _divergence(p: float, q: float) -> float:
    """Return the nats per row by which a share of p is unlikely if each row holds with probability q."""
    return p * log(p / q) + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)


def _columns_equal_to(value: Array, x: Array, half: Array) -> Iterator[int]:
    """Yield the columns of x (m, d) that equal a value (m,) in most rows, up to rounding by `half` (d,)."""
    for rows, share in ((slice(GLANCE), 0.5), (slice(None), 0.9)):
        part, target = value[rows, None], x[rows]
        known = np.isfinite(part) & ~np.isnan(target)
        near = np.abs(part - target) <= half + 1e-9 * np.abs(part)
        fits = ((near & known).sum(0) >= share * known.sum(0)) & (known.sum(0) > 0)
        if not fits.any():
            return
    yield from map(int, np.flatnonzero(fits))


def _bands(x: Array, codes: NDArray[np.integer]) -> list[tuple[int, tuple[float | None, float | None]]] | None:
    """Return the interval of numbers x (n,) in which each label lies, in rising order; None if they overlap."""
    labels, place_of = np.unique(codes, return_inverse=True)
    ranked = np.argsort([np.median(x[place_of == k]) for k in range(len(labels))], kind="stable")
    rank = np.argsort(ranked)[place_of]
    order = np.argsort(x, kind="stable")
    x, rank = x[order], rank[order]
    cuts = list[float]()
    for k in range(1, len(ranked)):
        above = np.append(0, np.cumsum(rank >= k))  # rows that lie below the cut and should not
        below = np.append(np.cumsum((rank < k)[::-1])[::-1], 0)
        edges = np.append(True, np.append(x[1:] > x[:-1], True))
        place = int(np.where(edges, above + below, len(x)).argmin())
        if not 0 < place < len(x) or (above + below)[place] > (1 - OFFERED) * len(x):
            return None
        cuts.append(_round_between(x[place - 1], x[place]))
    ends = [None, *cuts, None]
    return [(code, (ends[k], ends[k + 1])) for k, code in enumerate(labels[ranked].tolist())]


def _round_between(low: float, high: float) -> float:
    """Return the roundest number above low, and at most high."""
    for power in range(int(np.floor(np.log10(max(abs(low), abs(high), 1e-300)))) + 1, -16, -1):
        for unit in (10.0**power, 5 * 10.0 ** (power - 1)):
            if low < (value := float(np.floor(high / unit) * unit)) <= high:
                return float(_number(value))
    return float(high)


def _interval(name: str, low: float | None, high: float | None) -> str:
    """Return the claim that a column lies between low and high."""
    if low is None or high is None:
        return f"{quoted(name)} < {_number(high)}" if high is not None else f"{quoted(name)} >= {_number(low or 0.0)}"
    return f"{_number(low)} <= {quoted(name)} < {_number(high)}"
