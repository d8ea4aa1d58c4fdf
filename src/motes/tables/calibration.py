"""After training: biases of tokens, and factors of rules, estimated from synthetic rows.

A part that is drawn after others inherits their errors: its mean prediction over synthetic rows differs from the share
of each token in the training rows. Biases b correct this:

    mean over drawn rows of  q_k exp(b_k) / sum over l of q_l exp(b_l)  =  share_k

for the predicted probabilities q of the tokens, whichever experts they come from. Biases belong to the model: rows are
drawn and scored with them, so that the density stays normalised.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.tables.layout import Derived, shares_of
from motes.tables.mixture import smoothed_shares
from motes.tables.parts import Array, Codes
from motes.tables.rules import LEAST_OBEYING, Constraint, Rule, cases_of, columns_of, drawn_sides
from motes.tables.unmasking import ROWS, AnyOrderModel, MaskedDenoiser, draw_block
from motes.tables.unmasking_steps import TokenPrediction
from motes.training.programs import calibration_program, each_member, put

CHANGES = 0.2, 5.0  # range of changes of a share by rejection for which calibration compensates,
TURNS = 3  # maximum number of times: with a third of the rows rejected, each turn halves what is left
CLOSE = 0.004  # distance of targets that is no more than chance


def adjusted(orders: AnyOrderModel, seed: int, *, calibrate: bool) -> tuple[AnyOrderModel, bool]:
    """Return a trained model with biases and with the rules that rejection can keep, estimated from synthetic rows.

    Args:
        orders: the model, whose schema has the rules of the training rows.
        seed: random seed.
        calibrate: match the shares of each token to the training rows.

    Also return whether Ctrl-C ended the estimation early; the model then has no rules if none were estimated yet.
    """
    unmasker, schema = orders.plain, orders.schema
    masses = _shares_of_tokens(orders)
    stated, one = schema.bound, np.ones(1, np.int64)  # rules of users are kept even if nothing is estimated
    constraint = Constraint.of(stated, np.ones((1, len(stated)), np.int32), one, schema.rows)
    made = replace(orders, schema=replace(schema, rules=()), bias=unmasker.no_bias, constraint=constraint)
    try:
        if calibrate:
            made = replace(made, bias=calibrated(unmasker, masses, seed))
        constraint, changes = estimated(unmasker.with_bias(made.bias), (*stated, *schema.rules), seed)
        made = replace(made, schema=replace(schema, rules=constraint.found), constraint=constraint)
        targets = masses
        for _ in range(TURNS if calibrate and constraint.bends else 0):  # rejection changes the marginals
            before = targets
            targets = [mass / np.clip(times, *CHANGES) for mass, times in zip(masses, changes, strict=True)]
            targets = [target / target.sum() for target in targets]
            if _distance(before, targets) < CLOSE:
                break
            bias = calibrated(unmasker, targets, seed)
            constraint, changes = estimated(unmasker.with_bias(bias), made.constraint.rules, seed)
            if constraint.rules != made.constraint.rules:
                break
            made = replace(made, bias=bias, constraint=constraint)
        return made, False
    except KeyboardInterrupt:
        return made, True


def _shares_of_tokens(orders: AnyOrderModel) -> list[Array]:
    """Return the share of each token of each part, (K,), smoothed for numbers; see `smoothed_shares`."""
    layout, schema, models = orders.layout, orders.schema, orders.models
    shares = [part.masses for part in schema.parts]
    bases = [jax.tree.map(lambda part, k=k: part[k], models.base) for k in range(len(models.network.hidden))]
    smoothed = [smoothed_shares(base, layout.cells, schema.rows) for base in bases]
    for j, *of_members in zip(layout.lines, *smoothed, strict=True):
        values = np.mean(of_members, axis=0)[: len(shares[j])]
        shares[j] = np.where(values > 0, values * (1 - shares[j][-1] * schema.parts[j].missing), shares[j])
    return shares


def _distance(some: Sequence[Array], others: Sequence[Array]) -> float:
    """Return the largest difference of cumulative shares, as a mean over parts."""
    return float(np.mean([np.abs(np.cumsum(a - b)).max() for a, b in zip(some, others, strict=True)]))


# --- Biases ---------------------------------------------------------------------------------------------------------


CALIBRATED = 8  # blocks of rows drawn for calibration
FLOOR = 0.05  # minimum part of a token's share that is left for the network besides relations
ROUNDS = 12  # iterations of the fixed point
LEAST_SHARE = 1e-12  # replaces a share of 0 in logarithms
CALIBRATION_REACH = 2.0  # maximum bias in nats


def calibrated(unmasker: MaskedDenoiser, shares: Sequence[Array], seed: int) -> tuple[jax.Array, ...]:
    """Calibrate the biases (M, G, K) of each group, so that tokens of synthetic rows have these shares."""
    rng, plain = np.random.default_rng([seed, 112358]), unmasker
    made = [np.array(bias) for bias in plain.no_bias]
    blocks = [plain.start(ROWS) for _ in range(CALIBRATED)]  # size of the sampling programs
    for k, j in enumerate(map(int, plain.order)):
        place, spot = plain.spots[k]
        target = np.zeros(made[spot.group].shape[-1])
        target[: len(shares[j])] = shares[j]
        views, targets, rests = [], [], []
        for block in blocks:
            rows = plain.shares_of_members(ROWS, rng)
            views.append(jax.tree.map(np.asarray, unmasker.predict(block, k, rows)))
            derived = [one.take(rows) for one in unmasker.derived(block, j)]
            left, rest = _shares_left(views[-1], derived, target)
            targets.append(left)
            rests.append(rest)
        joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *views)
        left, rest = np.mean(targets, axis=0), np.concatenate(rests, axis=1)
        made[spot.group][:, int(place.member)] = token_biases(joined.log_codes, put(rest), put(left), put(left))
        unmasker = plain.with_bias(made)
        for block in blocks:
            unmasker.draw(block, k, unmasker.everything[j], rng, split=True)
    return tuple(jax.device_put(made))


def _shares_left(view: TokenPrediction, derived: Sequence[Derived], shares: Array) -> tuple[Array, Array]:
    """Return the shares of a part's tokens that its relations leave to each member, (M, K), and of each row, (M, m).

    Args:
        view: predictions for m rows of each member.
        derived: values from relations for these rows, (M, m).
        shares: (K,), shares of the tokens.
    """
    members, m = view.log_codes.shape[:2]
    if not derived:
        return np.tile(shares, (members, 1)), np.ones((members, m))
    pi, rest = shares_of(view.links, derived)
    given = np.zeros((members, len(shares)))
    for r, one in enumerate(derived):
        np.add.at(given, (np.arange(members)[:, None], one.codes), pi[..., r] / m)
    return np.maximum(shares - given, FLOOR * shares), rest


def _code_bias(log_codes: jax.Array, rest: jax.Array, target: jax.Array, shares: jax.Array) -> jax.Array:
    """Find the biases (K,) with which the tokens' mean over n rows, weighted by `rest` (n,), is the `target` (K,)."""

    def closer(_: int, bias: jax.Array) -> jax.Array:
        mean = (rest[:, None] * jax.nn.softmax(log_codes + bias, axis=-1)).mean(0)
        return _step_bias(bias, target, mean, shares)

    return jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros_like(shares))


token_biases = calibration_program(each_member(_code_bias))


def _step_bias(bias: jax.Array, target: jax.Array, mean: jax.Array, shares: jax.Array) -> jax.Array:
    """Move a bias (K,) one step towards the bias for which the mean (K,) equals the target (K,)."""
    step = jnp.log(jnp.maximum(target, LEAST_SHARE)) - jnp.log(jnp.maximum(mean, LEAST_SHARE))
    bias = bias + jnp.where(shares > 0, step, 0.0)
    return jnp.clip(bias - (shares * bias).sum() / shares.sum(), -CALIBRATION_REACH, CALIBRATION_REACH)


# --- Rules ----------------------------------------------------------------------------------------------------------


DRAWN = 4096, 32_768  # minimum and maximum rows for Z: at 0.98 its log has a standard error of 0.002 and 0.0008
FOR_EACH = 16  # rows for Z per training row, between these two,
ERROR = 5e-4  # unless the standard error of log Z is below this with fewer,
BREACHES = 16  # and each soft rule is broken at least this often, or would be at the training rows' rate
PRIOR = 10.0  # prior rows for the assumption that rules do not change the share of a token


def estimated(
    unmasker: MaskedDenoiser, rules: tuple[Rule, ...], seed: int
) -> tuple[Constraint, list[NDArray[np.float64]]]:
    """Estimate the constraint of rules, and by which factor it changes the frequency of each token, from drawn rows.

    The found rule that is broken most often is dropped, until rejection accepts a share of at least `LEAST_OBEYING` of
    the rows that obey the rules of users.

    Args:
        unmasker: the network's distribution p.
        rules: the rules of users, then those of the training rows.
        seed: random seed.

    Returns:
        The constraint, and a factor for each token (K,) of each part.
    """
    schema, blocks, of_cases = unmasker.schema, [], []
    if not rules:
        return Constraint(), [np.ones(part.count) for part in schema.parts]
    # log p of a row includes numbers beyond the observed range, so Z must include them too.
    whole, columns = unmasker.unlimited(), columns_of(rules)
    word = int(np.random.SeedSequence([seed, 667430]).generate_state(1)[0])
    rows = int(np.clip(FOR_EACH * schema.rows, *DRAWN))
    for number in range(-(-rows // ROWS)):
        block = draw_block(whole, ROWS, word, number)
        blocks.append(block.codes)
        of_cases.append(cases_of(rules, drawn_sides(schema, columns, block.codes, block.y, block.u)))
        if _is_enough(np.concatenate(of_cases), rules):
            break
    codes, cases = np.concatenate(blocks), np.concatenate(of_cases)
    stated = len(schema.bound)
    obeying = (cases[:, :stated] != 0).all(axis=1)
    if not obeying.any():  # at most about 1 in all of these rows does
        codes, cases = np.vstack([codes, codes[:1]]), np.vstack([cases, np.ones_like(cases[:1])])
        obeying = np.append(obeying, True)
    while (cases[obeying] != 0).all(axis=1).mean() < LEAST_OBEYING:
        worst = stated + int((cases[obeying, stated:] == 0).mean(axis=0).argmax())
        rules, cases = rules[:worst] + rules[worst + 1 :], np.delete(cases, worst, axis=1)
    constraint = Constraint.of(rules, *np.unique(cases, axis=0, return_counts=True), schema.rows)
    weights = np.exp(constraint.log_weights(cases))
    return constraint, [_frequency_change(codes[:, j], weights, part.count) for j, part in enumerate(schema.parts)]


def _is_enough(cases: NDArray[np.integer], rules: Sequence[Rule]) -> bool:
    """Return whether drawn rows (n, k) are enough to estimate Z; never if a rule has more cases than broken or kept."""
    breaches = np.maximum((cases == 0).sum(axis=0), [len(cases) * rule.shares[0] for rule in rules])
    soft = [rule.shares[0] > 0 for rule in rules]
    if cases.max() > 1 or (breaches[soft] < BREACHES).any():
        return False
    kept = float((cases > 0).all(axis=1).mean())
    return kept > 0 and np.sqrt((1 - kept) / kept / len(cases)) < ERROR


def _frequency_change(codes: Codes, weights: Array, count: int) -> Array:
    """Return the factor (count,) by which `weights` (n,) of the rows change the frequency of each token (n,)."""
    before, after = np.bincount(codes, minlength=count), np.bincount(codes, weights / weights.mean(), count)
    return (after + PRIOR) / (before + PRIOR)
