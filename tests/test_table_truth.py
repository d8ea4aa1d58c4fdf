"""Tables of which the exact answers are known: a trained model gives each of them within its sampling error.

Of `n` rows that it learns, a model tells a share p to sqrt(p / n); of drawn rows, that is added. What is allowed for
learning itself stands beside each number. No seed of data is one of draws: 0 makes the data, 1 trains and 7 draws.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fits import fit_table
from tables import untrained

SHORT = {"table.steps": 300, "table.width": 48, "table.depth": 1, "table.batch": 256}
DRAWN = 20_000
CHI2_31 = 61.1  # which one of 1,000 of 31 degrees of freedom exceeds


def drawn(model, frame, n=DRAWN, **words):
    return model.sample(n, seed=7, **words).like(frame.iloc[:0])


def repeated(cells, counts):
    """Each cell (a row) as often as it was counted."""
    return cells.loc[cells.index.repeat(np.ravel(counts))].reset_index(drop=True)


def shares_of(rows, cells):
    """The share of each cell among the rows, (c,)."""
    counts = rows[list(cells)].value_counts()
    return counts.reindex(pd.MultiIndex.from_frame(cells), fill_value=0).to_numpy() / len(rows)


def deviance(counts, q):
    """Twice the difference of the log-likelihoods of the counts' own shares and of q: chi-squared if q is the truth."""
    some = counts > 0
    return 2 * (counts[some] * np.log(counts[some] / counts.sum() / q[some])).sum()


# --- labels -----------------------------------------------------------------------------------------------------------

# Students of the University of Delaware, 1974 (R's HairEyeColor): sex x hair x eyes.
HAIR = ("Black", "Brown", "Red", "Blond")
EYES = ("Brown", "Blue", "Hazel", "Green")
STUDENTS = np.array(
    [
        [[32, 11, 10, 3], [53, 50, 25, 15], [10, 10, 7, 7], [3, 30, 5, 8]],
        [[36, 9, 5, 2], [66, 34, 29, 14], [16, 7, 7, 7], [4, 64, 5, 8]],
    ]
)


# Cars of R's mpg: how many of each model.
@pytest.fixture(scope="module")
def students():
    cells = pd.DataFrame(itertools.product(("Male", "Female"), HAIR, EYES), columns=["sex", "hair", "eyes"])
    return cells, fit_table(repeated(cells, STUDENTS), changes={"table.width": 48}, seed=1)


@pytest.mark.long
def test_ten_independent_labels_are_independent():
    # The old model said -20.3. A label's three free shares, of 3,000 rows, cost 3 / 6,000 nats each: 0.005 in all.
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(list("wxyz"), 4000) for name in "abcdefghij"})
    model = fit_table(frame.head(3000), changes=SHORT, seed=1)
    scores = model.score_samples(frame.tail(1000))
    assert scores.mean() == pytest.approx(-10 * np.log(4), abs=0.03)  # 0.005, and 0.025 for learning
    assert scores.std() < 0.25  # exact: 0
    assert np.isfinite(scores).all()
    # Pairs of independent labels: 16 shares of 1/16. 45 pairs of columns: 5 standard errors, 4e-4 of seeds.
    rows = drawn(model, frame)
    for a, b in itertools.combinations(frame, 2):
        pairs = pd.crosstab(rows[a], rows[b], normalize=True).to_numpy()
        assert np.abs(pairs - 1 / 16).max() < 5 * np.sqrt(1 / 16 * (1 / 3000 + 1 / DRAWN)) + 0.002


@pytest.mark.slow
def test_hair_and_eyes_are_learned_as_they_go_together(students):
    cells, model = students
    assert STUDENTS.sum() == 592
    p = STUDENTS / 592
    alone = np.einsum("i,j,k->ijk", p.sum((1, 2)), p.sum((0, 2)), p.sum((0, 1)))
    assert deviance(STUDENTS, alone) == pytest.approx(166.30, abs=0.01)  # as R's loglin says
    q = np.exp(model.score_samples(cells))
    assert q.sum() == pytest.approx(1, abs=1e-5)
    # Shares that one of 1,000 samples of this size would have, if the model were the truth; independence: 166.
    assert deviance(STUDENTS.ravel(), q) < CHI2_31
    # Log p of a student: -3.064 is the best, -3.205 that of independent marginals, and the old model's was -3.84.
    assert (p.ravel() * np.log(q)).sum() == pytest.approx((p * np.log(p)).sum(), abs=0.02)


@pytest.mark.slow
def test_drawn_students_have_the_shares_of_the_real_ones(students):
    cells, model = students
    found, p, q = shares_of(drawn(model, cells), cells), STUDENTS.ravel() / 592, np.exp(model.score_samples(cells))
    # 4.5 standard errors in 32 cells: 2e-4 of seeds.
    assert (np.abs(found - q) < 4.5 * np.sqrt(q / DRAWN)).all()
    # The real shares are known to sqrt(p / 592), of which learning may cost one, beside the draws' own error.
    assert (np.abs(found - p) < np.sqrt(p / 592) + 4.5 * np.sqrt(p / DRAWN)).all()


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts():
    """Nobody without a card spends anything; of the others half spend exp(N(3, 1))."""
    rng = np.random.default_rng(0)
    card = rng.random(3000) < 0.2
    spent = np.where(card & (rng.random(3000) < 0.5), np.exp(3 + rng.standard_normal(3000)).round(2), 0.0)
    frame = pd.DataFrame({"card": np.where(card, "yes", "no"), "spent": spent})
    return frame, fit_table(frame, changes=SHORT, seed=1)


@pytest.mark.long
def test_zeros_and_amounts_are_those_of_the_accounts(accounts):
    frame, model = accounts
    rows = drawn(model, frame)
    real, mine = frame.spent[frame.spent > 0], rows.spent[rows.spent > 0]
    # 4 standard errors of 20,000 rows (6e-5 of seeds): 0.0085. The marginals are calibrated to the rows.
    assert (rows.spent == 0).mean() == pytest.approx((frame.spent == 0).mean(), abs=0.0085)
    # Against the truth. The density of log spent is 0.4 at the median and 0.027 at the 1 % quantile: standard errors of
    # n = 330 real and about 2,200 drawn amounts are sqrt(1/4n) / 0.4 = 0.069 and sqrt(0.0099 / n) / 0.027 = 0.20.
    # 4 of them, with the draws' own a sixth of the variance.
    wide = 4 * np.sqrt(1 + len(real) / len(mine)) / np.sqrt(len(real))
    assert np.log(mine.median()) == pytest.approx(3, abs=wide * 0.5 / 0.399)
    assert np.log(mine.quantile(0.01)) == pytest.approx(3 - 2.326, abs=wide * 0.0995 / 0.0267)
    assert mine.max() <= real.max()


@pytest.mark.long
def test_nobody_without_a_card_spends(accounts):
    frame, model = accounts
    rows = drawn(model, frame)
    # The old model: 2.3 per cent of the rows. Stated: 0.5, with 3 standard errors.
    assert ((rows.card == "no") & (rows.spent > 0)).mean() < 0.005 + 3 * np.sqrt(0.005 / DRAWN)
    assert (rows.card == "no").mean() == pytest.approx((frame.card == "no").mean(), abs=4 * np.sqrt(0.16 / DRAWN))


@pytest.mark.slow
def test_a_model_that_has_not_been_trained_is_as_likely_as_its_base():
    # The base of one normal distribution is exact. What training begins with costs next to nothing.
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    rows = rng.normal(size=(6000, 4)) @ factor.T
    with untrained():
        model = fit_table(
            rows[:4000], changes={"table.own": 2, "table.components": 3, "table.calibrate": False}, seed=0
        )
    exact = stats.multivariate_normal(np.zeros(4), factor @ factor.T).logpdf(rows[4000:])
    found = model.score_samples(rows[4000:])
    # Chance: the standard error of the mean difference is 0.002, and 14 parameters of 4,000 rows cost 0.002.
    assert found.mean() == pytest.approx(exact.mean(), abs=0.02)
