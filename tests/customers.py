"""A table of customers as a CRM exports it: products, ratios, places, ids, dates, labels and missing entries."""

import numpy as np
import pandas as pd

CITIES = {
    "Vienna": (48.21, 16.37, "AT", 0.3),
    "Graz": (47.07, 15.44, "AT", 0.12),
    "Linz": (48.31, 14.29, "AT", 0.1),
    "Berlin": (52.52, 13.40, "DE", 0.2),
    "Munich": (48.14, 11.58, "DE", 0.18),
    "Zurich": (47.37, 8.54, "CH", 0.1),
}
PLANS = np.array(["free", "team", "business", "enterprise"])
END = np.datetime64("2024-06-30")


def customers(n: int, seed: int) -> pd.DataFrame:
    """n rows of 22 columns: total = fee x seats to 1 %, bmi = weight / height^2, and places near the city."""
    rng = np.random.default_rng(seed)
    latitude, longitude, country, share = map(np.array, zip(*CITIES.values(), strict=True))
    city, plan = rng.choice(len(CITIES), n, p=share), rng.choice(4, n, p=[0.45, 0.3, 0.18, 0.07])
    seats = 1 + rng.negative_binomial(2, 1 / (1 + np.array([1.5, 5, 14, 40])[plan]))
    fee = np.round(np.array([9.0, 19, 39, 79])[plan] * rng.choice([1, 0.9, 0.8], n, p=[0.7, 0.2, 0.1]), 2)
    age = np.clip(rng.gamma(9, 4.6, n), 18, 90).astype(int)
    sex = rng.choice(["f", "m", "x"], n, p=[0.49, 0.49, 0.02])
    height = np.round(rng.normal(np.where(sex == "m", 1.78, 1.66), 0.07), 2)
    weight = np.round(np.exp(rng.normal(np.log(24.5 + 0.04 * (age - 40)), 0.15)) * height**2, 1)
    signup = np.datetime64("2019-01-01") + (1800 * rng.beta(2, 1.3, n)).astype(int)
    last = np.minimum(signup + rng.exponential(300, n).astype(int), END)
    others = rng.choice(["web", "partner", "event"], n, p=[0.6, 0.3, 0.1])
    churned = rng.random(n) < 1 / (1 + np.exp(1.2 + 0.5 * plan - 0.004 * (END - last).astype(int)))
    tickets = rng.poisson(0.4 + 0.06 * seats + churned)
    made = pd.DataFrame(
        {
            "customer_id": 100_000 + rng.permutation(9 * n)[:n],
            "city": np.array([*CITIES])[city],
            "country": country[city],
            "latitude": np.round(latitude[city] + rng.normal(0, 0.05, n), 4),
            "longitude": np.round(longitude[city] + rng.normal(0, 0.07, n), 4),
            "plan": PLANS[plan],
            "seats": seats,
            "fee": fee,
            "total": np.round(fee * seats * rng.uniform(0.99, 1.01, n), 2),
            "age": age,
            "sex": sex,
            "height": height,
            "weight": weight,
            "bmi": np.round(weight / height**2, 1),
            "signup": pd.to_datetime(signup),
            "last_seen": pd.to_datetime(last),
            "channel": np.where(rng.random(n) < 0.3 + 0.1 * plan, "sales", others),
            "churned": churned,
            "tickets": tickets,
            "score": np.round(np.clip(rng.normal(8 - 0.7 * tickets**0.5 - 2 * churned, 1.2), 0, 10), 1),
            "income": np.round(np.exp(rng.normal(10.3 + 0.12 * plan + 0.006 * (age - 40), 0.45)), -2),
            "ad_spend": np.round(np.exp(rng.normal(2 + 0.6 * np.log(seats), 0.8)), 2),
        }
    )
    for column, share_missing in (("income", 0.12), ("score", 0.3), ("weight", 0.05), ("channel", 0.02)):
        made.loc[rng.random(n) < share_missing, column] = None
    made.loc[made.weight.isna(), "bmi"] = np.nan
    return made
