"""Tables as people bring them, each made from a seed, and four that cannot be learned."""

import numpy as np
import pandas as pd

FIRST = ["Ann", "Ben", "Cem", "Dea", "Eva", "Finn", "Gus", "Hal", "Ida", "Jan", "Kai", "Lea"]
LAST = ["Gruber", "Huber", "Bauer", "Wagner", "Müller", "Pichler", "Moser", "Hofer"]
WORDS = ["late", "good", "blue", "broken", "never", "thanks", "price", "again", "order", "box", "door", "slow", "team"]
ROWS = 90


def names(rng, n):
    return [f"{rng.choice(FIRST)} {rng.choice(LAST)} {k}" for k in rng.permutation(n)]


def comments(rng, n):
    return [" ".join(rng.choice(WORDS, rng.integers(3, 9))) + f" {k}" for k in range(n)]


def gaps(rng, values, share):
    return [None if gone else value for value, gone in zip(values, rng.random(len(values)) < share, strict=True)]


def days(rng, n, start="2021-01-01", span=700):
    return pd.Timestamp(start) + pd.to_timedelta(rng.integers(0, span, n), "D")


def titanic(rng, n):
    sex = rng.choice(["male", "female"], n)
    return {
        "PassengerId": np.arange(1, n + 1), "Survived": (rng.random(n) < np.where(sex == "male", 0.2, 0.7)).astype(int),
        "Pclass": rng.integers(1, 4, n), "Name": names(rng, n), "Sex": sex,
        "Age": gaps(rng, rng.gamma(6, 5, n).round(1), 0.2), "SibSp": rng.poisson(0.5, n), "Parch": rng.poisson(0.4, n),
        "Ticket": [f"PC {k}" for k in rng.integers(17_000, 17_060, n)], "Fare": rng.lognormal(3, 1, n).round(4),
        "Cabin": gaps(rng, [f"C{k}" for k in rng.integers(1, 40, n)], 0.77),
        "Embarked": gaps(rng, rng.choice(["S", "C", "Q"], n, p=[0.7, 0.2, 0.1]), 0.01),
    }  # fmt: skip


def crm(rng, n):
    seats, fee, signed = rng.integers(1, 50, n), rng.choice([9, 19, 49], n), days(rng, n)
    return {
        "customer_id": [f"C{k:05d}" for k in rng.permutation(n)], "name": names(rng, n),
        "email": [f"user{k}@firm{k % 7}.com" for k in range(n)],
        "phone": [f"+43 660 {k}" for k in rng.integers(1e6, 1e7, n)],
        "plan": rng.choice(["free", "team", "pro"], n), "seats": seats, "fee": fee, "total": seats * fee,
        "signed": signed, "last_login": signed + pd.to_timedelta(rng.integers(0, 9_000_000, n), "s"),
        "active": rng.random(n) < 0.7, "nps": gaps(rng, rng.integers(0, 11, n), 0.24),
    }  # fmt: skip


def orders(rng, n):
    price, quantity, ordered = rng.choice([4.99, 9.99, 24.5], n), rng.integers(1, 6, n), days(rng, n)
    shipped = pd.Series(ordered + pd.to_timedelta(rng.integers(0, 9, n), "D"))
    return {
        "order number": np.arange(70_000, 70_000 + n), "customer": rng.integers(1, 30, n), "price": price,
        "quantity": quantity, "total": (price * quantity).round(2), "ordered": ordered,
        "shipped": shipped.where(rng.random(n) < 0.8), "coupon": gaps(rng, rng.choice(["NEW", "VIP"], n), 0.8),
    }  # fmt: skip


def sensors(rng, n):
    return {
        "time": pd.Timestamp("2024-03-01") + pd.to_timedelta(np.arange(n) * 60, "s"),
        "sensor": rng.choice(["a1", "a2", "b1"], n), "temperature": 20 + rng.normal(size=n).cumsum() / 10,
        "humidity": gaps(rng, rng.uniform(30, 60, n).round(1), 0.05), "battery": np.linspace(100, 80, n).round(),
    }  # fmt: skip


def survey(rng, n):
    agree = ["no", "rather no", "rather yes", "yes"]
    made = {"respondent": np.arange(n), "age group": rng.choice(["18-29", "30-49", "50+"], n)}
    made |= {f"q{k}": gaps(rng, rng.choice(agree, n), 0.08) for k in range(1, 6)}
    return made | {"weight": rng.lognormal(0, 0.2, n), "comment": gaps(rng, comments(rng, n), 0.4)}


def of_one(values):
    return lambda rng, n: {"value": values(rng, n)}


TABLES = {
    "titanic": titanic, "crm": crm, "orders": orders, "sensors": sensors, "survey": survey,
    "names and a label": lambda rng, n: {"id": [f"C{k}" for k in range(n)], "city": rng.choice(["a", "b", "c"], n)},
    "e-mails": lambda rng, n: {"email": [f"u{k}@a.at" for k in range(n)], "spent": rng.lognormal(3, 1, n).round(2)},
    "two of each": lambda rng, n: {"pair": [f"P{k // 2}" for k in range(600)], "kind": ["u", "v", "w"] * 200},
    "one number": of_one(lambda rng, n: rng.normal(size=n)),
    "two rows": lambda rng, n: {"name": ["Ann", "Ben"], "age": [31, 47], "paid": [True, False]},
    "ten rows": lambda rng, n: {"name": FIRST[:10], "x": rng.normal(size=10), "k": range(10)},
    "a column without values": lambda rng, n: {"x": rng.normal(size=n), "empty": [None] * n,
        "l": rng.choice(["u", "v"], n)},
    "only labels": lambda rng, n: {f"l{k}": rng.choice(list("abcd")[: k + 2], n) for k in range(3)},
    "only dates": lambda rng, n: {"start": days(rng, n), "end": days(rng, n, "2024-01-01"), "due": days(rng, n)},
    "constants": lambda rng, n: {"version": [3] * n, "unit": ["cm"] * n, "x": rng.normal(size=n),
        "day": days(rng, n, span=1)},
    "no whole row": lambda rng, n: {
        "a": [None if k % 2 else float(k % 7) for k in range(n)], "b": [k % 5 if k % 2 else None for k in range(n)]
    },
    "gaps together": lambda rng, n: (lambda gone: {
        "x": np.where(gone, np.nan, rng.normal(size=n)), "y": np.where(gone, np.nan, rng.gamma(2, 3, n)),
        "l": [None if one else "u" for one in gone],
    })(rng.random(n) < 0.3),
    "wide": lambda rng, n: {f"c{k}": rng.normal(size=n) if k % 3 else rng.choice(["a", "b"], n) for k in range(30)},
    "large numbers": lambda rng, n: {"ns": rng.integers(10**15, 10**15 + 10**6, n), "x": rng.normal(size=n) * 1e12},
    "places": lambda rng, n: {"lat": rng.normal(47, 0.1, n), "lon": rng.normal(15.4, 0.1, n),
        "zip": rng.choice(["8010", "8020"], n)},
    "per cent": lambda rng, n: {"share": [f"{k} %" for k in rng.integers(0, 100, n)],
        "class": rng.choice(["u", "v"], n)},
    "odd names": lambda rng, n: {"a, b": rng.normal(size=n), "größe [cm]": rng.poisson(170, n),
        "it's \"x\"": rng.choice(["ü", "ß"], n)},
    "sizes": lambda rng, n: {
        "size": pd.Categorical(gaps(rng, rng.choice(["S", "M", "L"], n), 0.1), ["S", "M", "L"], ordered=True),
        "colour": pd.Categorical(rng.choice(["red", "blue"], n)), "price": rng.choice([9.9, 19.9], n),
    },
    "codes": lambda rng, n: {"zip": [f"0{k}" for k in rng.integers(1000, 1005, n)],
        "icd": rng.choice(["A01.1", "B20", "C18.0", "E11.9", "I10", "J45", "K35.8", "M54.5"], n)},
}  # fmt: skip

REFUSED = {
    "one id": (of_one(lambda rng, n: np.arange(n)), "its own value in 'value'.* Add columns, or set the kind of one"),
    "all missing": (lambda rng, n: {"x": [None] * n, "y": [None] * n}, "no column of .* varies"),
    "two equal rows": (lambda rng, n: {"x": [1.5, 1.5], "l": ["u", "u"]}, "no column of .* varies"),
    "endless": (lambda rng, n: {"x": [*rng.normal(size=n - 1), np.inf]}, "row 90, column 'x': got inf"),
}


def table(name):
    """One of them, as a pandas frame."""
    make = REFUSED[name][0] if name in REFUSED else TABLES[name]
    seed = [*TABLES, *REFUSED].index(name)
    return pd.DataFrame(make(np.random.default_rng([40, seed]), ROWS))
