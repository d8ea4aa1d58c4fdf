"""After training: biases and tilts of tokens, and factors of rules, estimated from synthetic rows.

A part that is drawn after others inherits their errors: its mean prediction over synthetic rows differs from the share
of each token in the training rows, and its regression on earlier parts differs from the same regression on the training
rows. Biases b and tilts W correct this:

    p_k(x)  =  q_k(x) exp(b_k + s_k . W x) / sum over l of q_l(x) exp(b_l + s_l . W x)
    mean over drawn rows of  p_k(x)  =  share_k
    covariance over drawn rows of  sum over k of s_k p_k(x)  with x  =  B times the covariance of x

q are the predicted probabilities of the tokens, whichever experts they come from; x are the visible entries on the axes
of the base, s_k is the place of token k on the axes of its part, and B are the regression coefficients of the training
rows. Of all changes of q with these means and covariances, exponential tilting is the smallest (Csiszar 1975).

Biases and tilts belong to the model: rows are drawn and scored with them, so that the density stays normalised.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from motes.tables.layout import Derived, Layout, shares_of
from motes.tables.mixture import smoothed_shares
from motes.tables.network import EncodedRows, visible_places
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
    made = replace(
        orders,
        schema=replace(schema, rules=()),
        bias=unmasker.no_bias,
        tilt=unmasker.no_tilt,
        constraint=constraint,
    )
    try:
        if calibrate:
            bias, tilt = calibrated(unmasker, masses, orders.slopes, seed)
            made = replace(made, bias=bias, tilt=tilt)
        constraint, changes = estimated(unmasker.with_bias(made.bias, made.tilt), (*stated, *schema.rules), seed)
        made = replace(made, schema=replace(schema, rules=constraint.found), constraint=constraint)
        targets = masses
        for _ in range(TURNS if calibrate and constraint.bends else 0):  # rejection changes the marginals
            before = targets
            targets = [mass / np.clip(times, *CHANGES) for mass, times in zip(masses, changes, strict=True)]
            targets = [target / target.sum() for target in targets]
            if _distance(before, targets) < CLOSE:
                break
            bias, tilt = calibrated(unmasker, targets, orders.slopes, seed)
            constraint, changes = estimated(unmasker.with_bias(bias, tilt), made.constraint.rules, seed)
            if constraint.rules != made.constraint.rules:
                break
            made = replace(made, bias=bias, tilt=tilt, constraint=constraint)
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


# --- Biases and tilts -----------------------------------------------------------------------------------------------


CALIBRATED = 8  # blocks of rows drawn for calibration
FLOOR = 0.05  # minimum part of a token's share that is left for the network besides relations
ROUNDS = 12  # iterations of the fixed point
LEAST_SHARE = 1e-12  # replaces a share of 0 in logarithms
CALIBRATION_REACH = 2.0  # maximum bias in nats
RIDGE = 0.1  # of regressions, relative to the variance of each axis
DAMPED = 1e-5  # the same of Newton's steps
TILT_SD = 0.3  # standard deviation of tilts before any row is seen, see `tilted`
TIGHT = 0.05  # minimum share of its variance that is left to a part with a tilt
NEWTON = 12  # maximum number of steps,
HALVINGS = 5  # each halved up to four times,
NEAR = 0.1  # until regressions are this close, in standard errors of the training rows


def calibrated(
    unmasker: MaskedDenoiser, shares: Sequence[Array], slopes: Array, seed: int
) -> tuple[tuple[jax.Array, ...], Array]:
    """Calibrate the biases (M, G, K) of each group, and the tilts (M, A, A).

    Args:
        unmasker: the model in its order, without biases and tilts.
        shares: the share of each token of each part, (K,).
        slopes: the regression coefficients of the training rows, (A, A).
        seed: random seed of the synthetic rows.
    """
    rng, plain, layout = np.random.default_rng([seed, 112358]), unmasker, unmasker.layout
    made, tilt, before = [np.array(bias) for bias in plain.no_bias], plain.no_tilt, np.zeros(0, np.int64)
    blocks = [plain.start(ROWS) for _ in range(CALIBRATED)]  # size of the sampling programs
    for k, j in enumerate(map(int, plain.order)):
        place, spot = plain.spots[k]
        target = np.zeros(made[spot.group].shape[-1])
        target[: len(shares[j])] = shares[j]
        views, targets, rests, places = [], [], [], []
        for block in blocks:
            rows = plain.shares_of_members(ROWS, rng)
            if block.seen is not None:
                places.append(np.asarray(block.seen.places[0], np.float64)[rows])
            views.append(jax.tree.map(np.asarray, unmasker.predict(block, k, rows)))
            derived = [one.take(rows) for one in unmasker.derived(block, j)]
            left, rest = _shares_left(views[-1], derived, target)
            targets.append(left)
            rests.append(rest)
        joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *views)
        left, rest = np.mean(targets, axis=0), np.concatenate(rests, axis=1)
        own = layout.axes_of(j)
        own = own[own < len(layout.axes)]
        if len(own) and len(before) and not spot.linked:
            of_tokens = layout.token_places[own, : len(target)]
            with threadpool_limits(1):  # for small matrices, threads only wait for each other
                for m, x in enumerate(np.concatenate(places, axis=1)[..., before]):
                    asked = slopes[np.ix_(own, before)]
                    bias, found = tilted(joined.log_codes[m], x, of_tokens, left[m], asked, plain.schema.rows)
                    made[spot.group][m, int(place.member)], tilt[m][np.ix_(own, before)] = bias, found
        else:
            bias = token_biases(joined.log_codes, put(rest), put(left), put(left))
            made[spot.group][:, int(place.member)] = bias
        before = np.append(before, own)
        unmasker = plain.with_bias(made, tilt)
        for block in blocks:
            unmasker.draw(block, k, unmasker.everything[j], rng, split=True)
    return tuple(jax.device_put(made)), tilt


def slopes_of(layout: Layout, rows: EncodedRows, weights: Array, order: NDArray[np.integer]) -> Array:
    """Compute the regression coefficients of each axis of the base on the axes of earlier parts, (A, A).

    Numbers that are predicted are at the place of their token, see `Layout.token_places`; masked entries are 0.

    Args:
        layout: layout of the table.
        rows: the training rows, (n, p).
        weights: their weights, (n,).
        order: the order of the parts, (p,).
    """
    codes, weights = np.asarray(rows.codes), weights / weights.sum()
    x = visible_places(layout, np.asarray(rows.y, np.float64), codes, np.asarray(rows.observed))
    own = layout.token_places[np.arange(len(layout.axes)), codes[:, layout.axes]].astype(np.float64)
    x, own = x - weights @ x, own - weights @ own
    within, between, slopes = x.T @ (weights[:, None] * x), own.T @ (weights[:, None] * x), np.zeros((x.shape[1],) * 2)
    within += np.diag(RIDGE * np.diag(within) + np.finfo(float).tiny)
    place = np.argsort(order)[layout.axes]
    for axis in range(len(place)):
        before = np.flatnonzero(place < place[axis])
        slopes[axis, before] = np.linalg.solve(within[np.ix_(before, before)], between[axis, before])
    return slopes


def tilted(
    log_q: Any, x: Array, places: Any, shares: Array, slopes: Array, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the biases b (K,) and the tilt W (T, V) of a part, by Newton's method on a concave log-likelihood.

        shares . b + trace(W C') - mean over drawn rows of log sum over k of q_k exp(b_k + s_k . W x)

    C is the covariance that the regression asks for. A normal prior of b and W keeps them small if there are few
    training rows: a tilt moves the mean of s by `TILT_SD` of its standard deviation given x. A part that x determines
    up to `TIGHT` of its variance has no tilt: then few tokens are possible, too coarse to move the mean.

    Args:
        log_q: predictions for m synthetic rows, (m, K).
        x: their visible entries on the axes of earlier parts, (m, V).
        places: s, the place of each token on the T axes of the part, (T, K).
        shares: shares of the tokens, (K,).
        slopes: B, the regression coefficients, (T, V).
        rows: number of training rows.
    """
    used, m, centre = shares > 0, len(x), x.mean(axis=0)
    log_q, s, x = log_q[:, used], places[:, used], (x - centre).astype(np.float32)
    p = np.exp(log_q)
    variance = (p @ np.square(s).T - np.square(p @ s.T)).mean(axis=0, dtype=np.float64) + np.finfo(np.float32).tiny
    spread = np.square(s) @ shares[used] - np.square(s @ shares[used])
    if variance.sum() < TIGHT * spread.sum():
        x, slopes = x[:, :0], slopes[:, :0]
    within, count = x.T @ x / m, int(used.sum())
    wanted = slopes @ (within + RIDGE * np.diag(np.diag(within)))
    first = np.log(shares[used] / np.maximum(p.mean(axis=0, dtype=np.float64), LEAST_SHARE))
    first = np.clip(first, -CALIBRATION_REACH, CALIBRATION_REACH)
    target, theta = np.append(shares[used], wanted), np.append(first, np.zeros(wanted.size))

    def probabilities(theta: Array) -> tuple[Array, float]:
        """Return p (m, K) and the log-likelihood without the prior."""
        b, w = theta[:count].astype(np.float32), theta[count:].reshape(wanted.shape).astype(np.float32)
        logits = log_q + b + (x @ w.T) @ s
        top = logits.max(axis=1, keepdims=True)
        p = np.exp(logits - top)
        total = p.sum(axis=1, keepdims=True)
        return p / total, float(theta @ target - (np.log(total) + top).mean(dtype=np.float64))

    p, value = probabilities(theta)
    prior = np.append(np.full(count, CALIBRATION_REACH**-2.0), np.repeat(variance, x.shape[1]) / TILT_SD**2) / rows
    close = NEAR * np.sqrt(np.append(shares[used], np.outer(variance, np.diag(within))) / rows)
    for _ in range(NEWTON):
        mean, curvature = _moments_of_tokens(p, x, s)
        slope = target - mean - prior * theta
        if (np.abs(slope) < close).all():
            break
        step = np.linalg.solve(curvature + np.diag(prior + DAMPED * np.diag(curvature)), slope)
        before = value - 0.5 * prior @ np.square(theta)
        for size in 0.5 ** np.arange(HALVINGS):
            moved = theta + size * step
            p, value = probabilities(moved)
            if value - 0.5 * prior @ np.square(moved) >= before + 1e-4 * size * (slope @ step):
                theta = moved
                break
        else:
            break
    tilt, bias = np.zeros((len(s), len(centre))), np.zeros(len(shares))
    tilt[:, : x.shape[1]] = theta[count:].reshape(wanted.shape)
    bias[used] = theta[:count] - centre @ tilt.T @ s
    bias[used] -= shares @ bias / shares.sum()
    return np.clip(bias, -CALIBRATION_REACH, CALIBRATION_REACH), tilt


def _moments_of_tokens(p: Array, x: Any, s: Any) -> tuple[Array, Array]:
    """Compute the means of the tokens' indicators and of s x', (K + T V,), and their covariances given x."""
    (m, count), v, expected = p.shape, x.shape[1], p @ s.T  # (m, T)
    curvature = np.zeros((count + s.shape[0] * v,) * 2)
    mean = p.mean(axis=0, dtype=np.float64)
    curvature[:count, :count] = np.diag(mean) - p.T @ p / m
    both = p.T @ x / m  # (K, V)
    for a, own in enumerate(s):
        at = slice(count + a * v, count + (a + 1) * v)
        curvature[:count, at] = own[:, None] * both - p.T @ (expected[:, a, None] * x) / m
        curvature[at, :count] = curvature[:count, at].T
        for other in range(a + 1):
            covariance = p @ (own * s[other]) - expected[:, a] * expected[:, other]
            beside = slice(count + other * v, count + (other + 1) * v)
            curvature[at, beside] = curvature[beside, at] = (covariance[:, None] * x).T @ x / m
    return np.append(mean, expected.T @ x / m), curvature


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
