"""The base of the model: a Gaussian mixture of a table's numbers, conditioned on the visible entries.

Its axes are the numbers, and the tokens of labels with few values (`layout.Levels`): a Gaussian of both is a regression
of the numbers on the visible labels. The weights of the components given a label are

    w_c p_c(label) / sum_k w_k p_k(label),    p_c(label): its share in component c,

because a Gaussian density of indicators is not a probability of a label, and would let rare labels decide.

For one component in one order of the columns, covariance = L L^T, the visible numbers x are whitened one by one,

    e_k = (x_k - m_k - sum over l < k of L_kl e_l) / L_kk,    e_k = 0 if x_k is masked,
    x_j | visible ~ N(m_j + sum over visible k of L_jk e_k,  sum over masked k <= j of L_jk^2)

This is exact if the visible numbers come first in the order. For a masked number in between, the later visible numbers
are ignored: an approximation that the network corrects, and the density stays normalised.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import gammaln, log_ndtr, logsumexp, ndtr
from threadpoolctl import threadpool_limits

from motes.training.batches import systematic
from motes.training.programs import put


class LabelAxes(NamedTuple):
    """The last M axes, which belong to labels: every token of a label but the last has an axis.

    Attributes:
        parts: the label of each axis, (M,); axes of one label stand together.
        masses: share of its token, (M,); the axis has the value 1 - mass if the row has the token, and -mass otherwise.
    """

    parts: NDArray[np.int32]
    masses: NDArray[np.float32]


class Base(NamedTuple):
    """A mixture of C Gaussians with A axes.

    Attributes:
        log_weights: (C,).
        means: (C, A).
        covariances: (C, A, A).
        is_number: (A,), 1 for a number and 0 for an axis of a label.
        slopes, offsets: (C, A); log p_c of a label is the sum of slope * y + offset over its axes, 0 for numbers.
    """

    log_weights: jax.Array
    means: jax.Array
    covariances: jax.Array
    is_number: jax.Array
    slopes: jax.Array
    offsets: jax.Array


class OrderedBase(NamedTuple):
    """A base in one order of its axes; or in an order for each of n rows, with a leading n in every shape.

    Attributes:
        order: place in the order -> axis, (A,).
        log_weights: (C,).
        means: (C, A), in the order, like the factors.
        factors: (C, A, A), lower triangular.
        is_number, slopes, offsets: see `Base`; in the order, too.
    """

    order: jax.Array
    log_weights: jax.Array
    means: jax.Array
    factors: jax.Array
    is_number: jax.Array
    slopes: jax.Array
    offsets: jax.Array


class Gaussians(NamedTuple):
    """A mixture of C Gaussians for each of some numbers, (..., C) each, in NumPy or JAX; the weights sum to 1."""

    log_weights: Any
    means: Any
    sds: Any


class Cells(NamedTuple):
    """The tokens of some numbers as cells of their lines.

    Attributes:
        edges: ends of the tokens, (..., K+1), finite.
        shares: the share of each token among the values, (..., K); 0 for missing entries and padding.
        open: which tokens have no end, (..., K): there, values are not spread evenly.
        points: the tokens of a point mass, (..., P); K for padding.
        around: the ends of a narrow cell around each, (..., P, 2).
    """

    edges: NDArray[np.float32]
    shares: NDArray[np.float32]
    open: NDArray[np.bool_]
    points: NDArray[np.int32]
    around: NDArray[np.float32]


LEAST_MASS = 1e-6  # minimum mass of a token given nothing: single precision has no digits below


def marginals(base: Base, lines: int) -> Gaussians:
    """Return the Gaussians of the first `lines` axes given nothing, (L, C) each; in NumPy or JAX."""
    xp: Any = jnp if isinstance(base.means, jax.Array) else np
    variances = xp.diagonal(base.covariances, axis1=1, axis2=2)
    means, sds = base.means[:, :lines].T, xp.sqrt(variances[:, :lines]).T
    return Gaussians(xp.broadcast_to(base.log_weights, means.shape), means, sds)


def in_order(base: Base, order: jax.Array) -> OrderedBase:
    """Return the base with its axes in an order (A,)."""
    covariances = base.covariances[:, order][:, :, order]
    factors = jnp.linalg.cholesky(covariances) if covariances.size else covariances
    of_labels = base.is_number[order], base.slopes[:, order], base.offsets[:, order]
    return OrderedBase(order, base.log_weights, base.means[:, order], factors, *of_labels)


def log_weight_change(whitened: Any, log_sd: Any, y: Any, is_number: Any, slope: Any, offset: Any) -> Any:
    """Compute what a visible axis adds to the log-weights of the components, up to a constant; in NumPy or JAX."""
    return is_number * (-0.5 * whitened**2 - log_sd) + slope * y + offset


def components_given(base: OrderedBase, y: jax.Array, visible: jax.Array) -> Gaussians:
    """Compute the Gaussians of each axis, (n, A, C), given the visible axes before it in the order.

    Args:
        base: the base in an order.
        y: (n, A), with the axes in their original order, like the result.
        visible: (n, A), which of them are visible.
    """
    x, seen = y[:, base.order], visible[:, base.order]
    deviations = jnp.where(seen[:, None], x[:, None] - base.means, 0.0)  # (n, C, A)
    whitened = _whiten(base.factors, deviations, seen)
    means = base.means + jnp.einsum("nck,cjk->ncj", whitened, base.factors)
    variances = jnp.einsum("nk,cjk->ncj", 1.0 - seen, jnp.square(base.factors))
    # A visible number has no variance; its value here is not used.
    sds = jnp.sqrt(jnp.where(seen[:, None], 1.0, variances))
    diagonal = jnp.diagonal(base.factors, axis1=1, axis2=2)
    of_labels = base.is_number, base.slopes, base.offsets
    terms = log_weight_change(whitened, jnp.log(diagonal), x[:, None], *of_labels)
    log_weights = jax.nn.log_softmax(base.log_weights + (terms * seen[:, None]).sum(-1), axis=-1)  # (n, C)
    back = jnp.argsort(base.order)
    means, sds = (jnp.moveaxis(part[:, :, back], 1, 2) for part in (means, sds))
    return Gaussians(jnp.broadcast_to(log_weights[:, None], means.shape), means, sds)


def _whiten(factors: jax.Array, deviations: jax.Array, seen: jax.Array) -> jax.Array:
    """Compute e (n, C, A) of the module's equation."""
    size = factors.shape[-1]

    def step(k: jax.Array, made: jax.Array) -> jax.Array:
        row = factors[:, k]  # (C, A)
        rest = deviations[:, :, k] - (made * row).sum(-1)
        return made.at[:, :, k].set(jnp.where(seen[:, k, None], rest / row[:, k], 0.0))

    return jax.lax.fori_loop(0, size, step, jnp.zeros_like(deviations))


# --- Fitting the Gaussian mixture -----------------------------------------------------------------------------------
#
# The likelihood of the numbers of left-out rows, given all of their labels and given none, chooses the number of
# components; for few rows also how far their covariances are shared, and a ridge:
#
#     covariance_c <- (1 - share) covariance_c + share sum_k w_k covariance_k + ridge I
#
# The first L of the A axes are numbers; the others are tokens of labels (`LabelAxes`).


Array = NDArray[np.float64]

FEW = 3000  # rows up to which left-out rows choose all three
COUNTS = (1, 2, 3, 4, 6, 8, 12)
SHARES = (0.0, 0.1, 0.3, 0.6)
RIDGES = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.2)
MOST = 20_000  # maximum number of rows to which a mixture is fitted
GATES = (0.002, 0.999)  # range of the initial gates
NEVER = -1e30  # stands for the log-probability of 0
LEAST_FRAME = 0.02  # minimum initial share of an applicable histogram
STARTS = 4  # starts of a fit; the best is kept: one in three ends in a bad optimum, and with k-means all may
LONGEST = 40  # maximum number of iterations of a fit,
GAIN = 1e-3  # which ends when the mean log-density of a row gains less
LEAST = 1e-4  # ridge of the mixture for many rows
LEAST_VARIANCE = 0.05  # minimum eigenvalue of a correlation matrix from pairs
PAIRS = 1.0  # prior rows of an uncorrelated standard Gaussian
EVERYWHERE = 0.01  # part of a component's labels that is distributed as in the whole table
LEAST_SHARE = 1e-6  # minimum share of a label


Raw = tuple[Array, Array, Array]  # weights (C,), means (C, A) and covariances (C, A, A)


class MixtureShape(NamedTuple):
    """The hyperparameters of a mixture.

    Attributes:
        components: their number.
        share: the shared part of their covariances.
        ridge: added to their covariances.
        whole: whether they are fitted to whole rows, or to the numbers alone.
    """

    components: int
    share: float
    ridge: float
    whole: bool = False


def choose_shape(y: Array, weights: Array, labels: LabelAxes, hold: Array, most: int, seed: int) -> MixtureShape:
    """Choose the shape with the highest likelihood of the numbers of left-out rows; see `_log_density`.

    Args:
        y: rows (n, A).
        weights: sample weights, (n,).
        labels: the axes that are not numbers.
        hold: the weights to leave out in each fold, (folds, n).
        most: maximum number of components.
        seed: random seed of the fits.
    """
    with threadpool_limits(1):  # for small matrices, threads only wait for each other
        if len(y) > FEW:
            return _choose_shape_many(y, weights, labels, most, seed)
        return _choose_shape_few(y, weights, labels, hold, most, seed)


def _choose_shape_few(y: Array, weights: Array, labels: LabelAxes, hold: Array, most: int, seed: int) -> MixtureShape:
    """Search all shapes, until more components were worse twice; return the best one."""
    best, found, fell = MixtureShape(1, 0.0, 0.1), -np.inf, 0
    rng = np.random.default_rng([seed, 662607])
    folds = [(drawn(rng, weights - out), np.flatnonzero(out), out[out > 0]) for out in hold]
    for count in (count for count in COUNTS if count <= most and count * 10 <= len(y)):
        grid: dict[MixtureShape, float] = defaultdict(float)
        for learn, fold, heavy in folds:
            for whole, raw in enumerate(_fit_components(y[learn], labels, count, seed)):
                for share, ridge in product(SHARES if count > 1 else (0.0,), RIDGES):
                    shape = MixtureShape(count, share, ridge, bool(whole))
                    grid[shape] += heavy @ _log_density(y[fold], labels, *_regularise(raw, shape))
        shape = max(grid, key=lambda shape: grid[shape], default=best)
        if grid[shape] > found:
            best, found, fell = shape, grid[shape], 0
        elif (fell := fell + 1) == 2:
            break
    return best


def _choose_shape_many(y: Array, weights: Array, labels: LabelAxes, most: int, seed: int) -> MixtureShape:
    """Return the fewest components whose likelihood of left-out rows of y (n, A) is within one error of the best."""
    rng = np.random.default_rng([seed, 662608])
    order = rng.permutation(len(y))
    fresh, rest = order[: FEW // 2], order[FEW // 2 :]
    learn = rest[drawn(rng, weights[rest], MOST // 2)]
    found = {
        MixtureShape(count, 0.0, LEAST, bool(whole)): _log_density(y[fresh], labels, *raw)
        for count in [*(count for count in COUNTS if count < most), most]
        for whole, raw in enumerate(_fit_components(y[learn], labels, count, seed))
    }
    mean = partial(np.average, axis=1, weights=weights[fresh])
    log_densities = np.stack([*found.values()])
    short = log_densities[mean(log_densities).argmax()] - log_densities
    error = np.sqrt(mean((short - mean(short)[:, None]) ** 2) / len(fresh))
    return [*found][int((mean(short) <= error).argmax())]


def drawn(rng: np.random.Generator, weights: Array, most: int = MOST) -> NDArray[np.int64]:
    """Resample row numbers by weights (n,), at most `most` of them: scikit-learn's mixture accepts no weights."""
    return systematic(rng, weights, min(round(weights.sum()), most))


def fit_base(y: Array, weights: Array, labels: LabelAxes, shape: MixtureShape, seed: int) -> Base:
    """Fit the mixture with this shape to y (n, A), with sample weights (n,)."""
    y = y[drawn(np.random.default_rng(seed), weights)]
    with threadpool_limits(1):
        fits = _fit_components(y, labels, shape.components, seed)
        raw = next(fits)
        weights_, means, covariances = _regularise(next(fits, raw) if shape.whole else raw, shape)
    return Base(*map(put, (np.log(weights_), means, covariances, *_label_terms(means, labels))))


def base_of_pairs(y: Array, observed: NDArray[np.bool_], weights: Array) -> Base:
    """Fit one Gaussian to y (n, A), estimating each covariance from the rows in which both are `observed` (n, A).

    A pair observed in hardly any row is uncorrelated. Eigenvalues are at least `LEAST_VARIANCE`, because pairs from
    different rows can be inconsistent. `weights` are sample weights (n,).
    """
    heavy = observed * weights[:, None]
    mean = (heavy * y).sum(0) / (heavy.sum(0) + PAIRS)
    apart = np.where(observed, y - mean, 0.0)
    sd = np.sqrt(((heavy * np.square(apart)).sum(0) + PAIRS) / (heavy.sum(0) + PAIRS))
    pairs = heavy.T @ observed
    shrunk = (heavy * apart / sd).T @ (apart / sd) / (pairs + PAIRS)
    np.fill_diagonal(shrunk, 1.0)
    values, vectors = np.linalg.eigh(shrunk)
    covariance = (vectors * np.maximum(values, LEAST_VARIANCE)) @ vectors.T * np.outer(sd, sd)
    alone = np.zeros((1, len(mean)))  # nothing changes the weight of a single component
    return Base(*map(put, (np.zeros(1), mean[None], covariance[None], np.ones(len(mean)), alone, alone)))


def _fit_components(y: Array, labels: LabelAxes, components: int, seed: int) -> Iterator[Raw]:
    """Fit weights (C,), means (C, A) and covariances (C, A, A) to rows y (n, A) by expectation and maximisation.

    Yield first the components of the numbers alone, by scikit-learn; then, if there are several and some labels, the
    components of whole rows, which start there. Components of the numbers can miss groups that only labels tell apart;
    components of whole rows can separate labels where the numbers have more to tell.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    lines = y.shape[1] - len(labels.parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the base need not be optimal
        starts = STARTS if components > 1 else 1
        mixture = GaussianMixture(
            components, reg_covar=LEAST, max_iter=LONGEST, n_init=starts, init_params="k-means++", random_state=seed
        )
        found = mixture.fit(y[:, :lines])
    if y.shape[1] == lines:
        yield found.weights_, found.means_, found.covariances_
        return
    share, before = found.predict_proba(y[:, :lines]), -np.inf  # (n, C)
    for iteration in range(LONGEST):
        rows = share.sum(axis=0) + np.finfo(float).tiny
        weights, means = rows / rows.sum(), (share.T @ y) / rows[:, None]
        apart = y - means[:, None]  # (C, n, A)
        covariances = np.einsum("nc,cni,cnj->cij", share, apart, apart, optimize=True) / rows[:, None, None]
        covariances += LEAST * np.eye(y.shape[1])
        if not iteration:
            yield weights, means, covariances
        if components == 1:
            return
        log_joint = _log_weights(y, labels, weights, means)
        log_joint += _log_normals(y[:, :lines], means[:, :lines], covariances[:, :lines, :lines])
        log_rows = logsumexp(log_joint, axis=1, keepdims=True)
        share, now = np.exp(log_joint - log_rows), log_rows.mean()
        if now - before < GAIN:
            break
        before = now
    yield weights, means, covariances


def _regularise(raw: Raw, shape: MixtureShape) -> Raw:
    weights, means, covariances = raw
    common = np.einsum("c,cij->ij", weights, covariances)
    ridge = shape.ridge * np.eye(means.shape[1])
    return weights, means, (1 - shape.share) * covariances + shape.share * common + ridge


def _label_terms(means: Array, labels: LabelAxes) -> tuple[Array, Array, Array]:
    """Compute `is_number`, `slopes` and `offsets` of a `Base` from the means (C, A) of its components."""
    lines, parts, masses = means.shape[1] - len(labels.parts), labels.parts, np.asarray(labels.masses, np.float64)
    _, first, of_axis, counts = np.unique(parts, return_index=True, return_inverse=True, return_counts=True)
    last = 1 - np.add.reduceat(masses, first) if len(parts) else masses
    shares = np.maximum(means[:, lines:] + masses, 0.0)
    of_last = np.maximum(1 - np.add.reduceat(shares, first, axis=1), 0.0) if len(parts) else shares
    log = lambda share, mass: np.log(np.maximum((1 - EVERYWHERE) * share + EVERYWHERE * mass, LEAST_SHARE))
    log_last = log(of_last, last)[:, of_axis]
    slopes = log(shares, masses) - log_last
    offsets = slopes * masses + log_last / counts[of_axis]
    none = np.zeros((len(means), lines))
    return (np.arange(means.shape[1]) < lines) * 1.0, np.hstack([none, slopes]), np.hstack([none, offsets])


def _log_weights(y: Array, labels: LabelAxes, weights: Array, means: Array) -> Array:
    """Compute log w_c p_c(labels) of the labels of rows y (n, A), (n, C)."""
    _, slopes, offsets = _label_terms(means, labels)
    return np.asarray(np.log(weights) + y @ slopes.T + offsets.sum(axis=1))


def _log_density(y: Array, labels: LabelAxes, weights: Array, means: Array, covariances: Array) -> Array:
    """Compute the log-density (n,) of the numbers of rows y (n, A): the mean given all labels and none."""
    lines = y.shape[1] - len(labels.parts)
    numbers, given = slice(lines), slice(lines, None)
    alone = _log_normals(y[:, numbers], means[:, numbers], covariances[:, numbers, numbers])
    without = np.asarray(logsumexp(np.log(weights) + alone, axis=1))
    if not len(labels.parts):
        return without
    log_weights = _log_weights(y, labels, weights, means)
    log_weights -= logsumexp(log_weights, axis=1, keepdims=True)
    of_labels = _log_normals(y[:, given], means[:, given], covariances[:, given, given])
    terms = _log_normals(y, means, covariances) - of_labels
    return (without + np.asarray(logsumexp(log_weights + terms, axis=1))) / 2


def _log_normals(y: Array, means: Array, covariances: Array) -> Array:
    """Compute the log-density of rows y (n, A) under each Gaussian, (n, C); 0 without axes."""
    if not y.shape[1]:  # before SciPy 1.14, LAPACK refuses a matrix without rows
        return np.zeros((len(y), len(means)))
    terms = []
    for mean, covariance in zip(means, covariances, strict=True):
        factor = cholesky(covariance, lower=True)
        e = solve_triangular(factor, (y - mean).T, lower=True)
        terms.append(-0.5 * (e**2).sum(0) - np.log(np.diag(factor)).sum())
    return np.stack(terms, axis=1) - 0.5 * y.shape[1] * np.log(2 * np.pi)


PRIORS = np.geomspace(1.0, 1e6, 25)  # candidate numbers of prior rows of the mixture


def smoothed_shares(base: Base, cells: Sequence[Cells], rows: int) -> list[Array]:
    """Return the shares of the tokens of each number, (K,), shrunk towards the shares of the mixture.

        (rows_k + c N0_k) / (rows + c),    rows_k: the rows with token k, N0_k: the mixture's mass in it

    A token has few rows, whose number is mostly chance where the mixture is right. The number c of prior rows has the
    highest evidence for the rows of all tokens (the Dirichlet-multinomial distribution: Minka 2000, section 3).

    Args:
        base: the mixture of L numbers and some labels.
        cells: the tokens of each number; point masses keep their shares.
        rows: the number of rows.
    """
    smoothed = []
    for (_, shares, _, points, _), masses in zip(cells, _masses_alone(base, cells), strict=True):
        dense = (shares > 0) & ~np.isin(np.arange(len(shares)), points)
        counts, prior = rows * shares[dense].astype(np.float64), masses[dense] / masses[dense].sum()
        log_evidence = [
            (gammaln(counts + c * prior) - gammaln(c * prior)).sum() + gammaln(c) - gammaln(counts.sum() + c)
            for c in PRIORS
        ]
        c, made = PRIORS[np.argmax(log_evidence)], shares.astype(np.float64)
        made[dense] = shares[dense].sum(dtype=np.float64) * (counts + c * prior) / (counts.sum() + c)
        smoothed.append(made)
    return smoothed


def first_gates(
    base: Base,
    y: Array,
    low: Array,
    high: Array,
    codes: NDArray[np.integer],
    cells: Sequence[Cells],
    log_even: Array,
    log_frames: Array,
    weights: Array,
) -> tuple[Array, Array]:
    """Compute the initial log-odds of the even spread, (L,), and log-weights of histograms, (L, F).

    Both have the maximum likelihood. See `tables/network.py` for the experts.

    The numbers are predicted in the order of the columns and in reverse, after the labels. In one order alone, no
    expert has an advantage for the first number, and its gate would be wrong in later places.

    Args:
        base: the mixture of L numbers and some labels.
        y: places on its axes, (n, A).
        low, high: rounding intervals of the numbers, (n, L).
        codes: their tokens, (n, L).
        cells: the tokens of each number on its line.
        log_even: log p of the entries by their tokens alone, (n, L).
        log_frames: log p of the entries by each histogram, (n, L, F); minus infinity if there is none, or it does not
            apply.
        weights: sample weights, (n,).
    """
    lines = low.shape[1]
    masses_alone = _masses_alone(base, cells)

    def log_experts(order: NDArray[np.integer]) -> tuple[Array, Array]:
        """Compute log p of the numbers by the even spread and by the Gaussians, (n, L) each, in one order."""
        even, normal = log_even.copy(), np.empty_like(log_even)
        for axis, log_density, normals in _numbers_in_turn(base, y, low, high, order):
            own, alone, shares = codes[:, axis], masses_alone[axis], cells[axis].shares.astype(np.float64)
            ratio = _token_masses(normals, cells[axis]) / alone  # (n, K)
            log_total = np.log(ratio @ shares)
            with np.errstate(divide="ignore"):
                even[:, axis] += np.log(np.take_along_axis(ratio, own[:, None], 1)[:, 0]) - log_total
                of_density = np.log(shares / alone)[own] + log_density - log_total
            normal[:, axis] = np.where(np.isin(own, cells[axis].points), even[:, axis], of_density)
            even[:, axis] = np.where(cells[axis].open[own], of_density, even[:, axis])
        return np.maximum(even, NEVER), np.maximum(normal, NEVER)

    both = [log_experts(order) for order in (np.arange(lines), np.arange(lines)[::-1])]
    log_even, log_normal = (np.concatenate(expert) for expert in zip(*both, strict=True))
    weights, gates = np.concatenate([weights, weights]), np.full(lines, 0.5)
    for _ in range(50):  # expectation and maximisation
        first, second = np.log(gates) + log_even, np.log1p(-gates) + log_normal
        gates = np.clip(np.average(np.exp(first - np.logaddexp(first, second)), axis=0, weights=weights), *GATES)
    log_own = np.logaddexp(np.log(gates) + log_even, np.log1p(-gates) + log_normal)[..., None]
    log_frames = np.concatenate([log_frames, log_frames])
    shares = np.full(log_frames.shape[1:], 0.5)  # of each histogram alone: it depends on the order which ones apply
    for _ in range(50):
        first, second = np.log1p(-shares) + log_own, np.log(shares) + log_frames
        shares = np.average(np.exp(second - np.logaddexp(first, second)), axis=0, weights=weights)
        shares = np.clip(shares, LEAST_FRAME, 1 - LEAST_FRAME)
    return np.log(gates) - np.log1p(-gates), np.log(shares) - np.log1p(-shares)


def _masses_alone(base: Base, cells: Sequence[Cells]) -> list[Array]:
    """Compute the mixture's mass in each token of each number given nothing, (K,), at least `LEAST_MASS`."""
    alone = marginals(jax.tree.map(np.asarray, base), len(cells))
    of_number = (Gaussians(*(part[axis] for part in alone)) for axis in range(len(cells)))
    return [np.maximum(_token_masses(*pair), LEAST_MASS) for pair in zip(of_number, cells, strict=True)]


def _token_masses(normals: Gaussians, cells: Cells) -> Array:
    """Compute the mass of Gaussians (..., C) in each token of one number, (..., K), as `network.token_masses` does."""
    weights, means, sds = (part[..., None, :] for part in (np.exp(normals.log_weights), normals.means, normals.sds))
    upto = lambda edges: (weights * ndtr((edges[:, None] - means) / sds)).sum(-1)
    masses, points = np.diff(upto(cells.edges)), cells.points[cells.points < len(cells.shares)]
    if len(points):
        masses[..., points] = np.diff(upto(cells.around[: len(points)].ravel()))[..., ::2]
    return masses


def _numbers_in_turn(
    base: Base, y: Array, low: Array, high: Array, order: NDArray[np.integer]
) -> Iterator[tuple[int, Array, Gaussians]]:
    """Yield each number of `order`, its log p (n,) by the base alone, and its Gaussians (n, C).

    Both are given the labels and the numbers before it.
    """
    weights, means, covariances, is_number, slopes, offsets = (np.array(part, dtype=np.float64) for part in base)
    turns = np.append(np.arange(low.shape[1], y.shape[1]), order)
    means, covariances = means[:, turns], covariances[:, turns][:, :, turns]
    log_weights = np.repeat(weights[None], len(y), axis=0)  # (n, C), given the axes before
    factors = np.linalg.cholesky(covariances)
    centred = y[:, turns] - means[:, None]
    e = np.stack([solve_triangular(L, one.T, lower=True).T for L, one in zip(factors, centred, strict=True)], 1)
    for k, axis in enumerate(turns):
        sd = np.asarray(factors[:, k, k], np.float64)
        if axis < low.shape[1]:
            mean = y[:, axis, None] - sd * e[:, :, k]
            terms = log_mass_of(low[:, axis, None], high[:, axis, None], mean, sd)
            log_weights -= logsumexp(log_weights, axis=1, keepdims=True)
            log_normal = np.asarray(logsumexp(log_weights + terms, axis=1))
            yield int(axis), log_normal, Gaussians(log_weights, mean, np.broadcast_to(sd, mean.shape))
        of_labels = is_number[axis], slopes[:, axis], offsets[:, axis]
        log_weights += log_weight_change(e[:, :, k], np.log(sd), y[:, axis, None], *of_labels)


def log_mass_of(low: Array, high: Array, mean: Array, sd: Array) -> Array:
    """Compute the log of a Gaussian's mass in a cell, or of its density if the cell is a point."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a + b > 0
    a, b = np.where(flip, -b, a), np.where(flip, -a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = log_ndtr(b) + np.log(-np.expm1(np.minimum(log_ndtr(a) - log_ndtr(b), 0.0)))
        narrow = (high - low) / sd < 1e-3
        width = np.where(high > low, high - low, 1.0)  # of a cell; the density is the mass for a width of 1
        point = -0.5 * ((a + b) / 2) ** 2 - 0.5 * np.log(2 * np.pi) + np.log(width / sd)
    return np.where(narrow, point, mass)
