"""SOAP, the optimiser of recipe `default`: against NumPy, and what is true of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from motes.training.optimisers import scale_by_soap

SHAPES = ((4, 3), (4,), (3, 4))
SIZE = 28
MEMORY, EVERY = 0.95, 10  # of Vyas et al., and motes' own


def slopes_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, SIZE))


def steps_of(slopes, shapes=SHAPES):
    """The steps for gradients that come one after another, (k, p), and the last state."""
    soap = scale_by_soap(shapes)
    update = jax.jit(soap.update)
    state, made = soap.init(jnp.zeros(slopes.shape[1])), []
    for slope in slopes:
        step, state = update(jnp.asarray(slope, float), state)
        made.append(np.asarray(step))
    return np.array(made), state


class Matrix:
    """SOAP of one matrix, from the paper: the mean of the gradients is kept as it is, and brought into the bases."""

    def __init__(self, shape):
        a, b = shape
        self.mean, self.square = np.zeros(shape), np.zeros(shape)
        self.moments, self.bases, self.count = [np.zeros((a, a)), np.zeros((b, b))], [np.eye(a), np.eye(b)], 0

    def step(self, g):
        self.moments = [
            MEMORY * m + (1 - MEMORY) * new for m, new in zip(self.moments, (g @ g.T, g.T @ g), strict=True)
        ]
        if self.count % EVERY == 0:
            self.bases = [np.linalg.qr(m @ q)[0] for m, q in zip(self.moments, self.bases, strict=True)]
        self.count += 1
        left, right = self.bases
        self.mean = MEMORY * self.mean + (1 - MEMORY) * g
        self.square = MEMORY * self.square + (1 - MEMORY) * (left.T @ g @ right) ** 2
        fresh = 1 - MEMORY**self.count
        turned = left.T @ self.mean @ right / fresh / (np.sqrt(self.square / fresh) + 1e-8)
        return left @ turned @ right.T


def test_the_steps_are_those_of_the_paper():
    slopes = slopes_of(25)
    with jax.enable_x64(True):
        steps, _ = steps_of(slopes)
    first, last = Matrix((4, 3)), Matrix((3, 4))
    for slope, step in zip(slopes, steps, strict=True):
        np.testing.assert_allclose(step[:12].reshape(4, 3), first.step(slope[:12].reshape(4, 3)), atol=1e-6)
        np.testing.assert_allclose(step[16:].reshape(3, 4), last.step(slope[16:].reshape(3, 4)), atol=1e-6)


def test_what_is_no_matrix_is_scaled_by_adam():
    slopes, adam = slopes_of(25), optax.scale_by_adam(MEMORY, MEMORY)
    bias, state = steps_of(slopes)[0][:, 12:16], adam.init(jnp.zeros(SIZE))
    for slope, ours, whole in zip(slopes, bias, steps_of(slopes, ())[0], strict=True):
        theirs, state = adam.update(jnp.asarray(slope, float), state)
        np.testing.assert_allclose(ours, theirs[12:16], rtol=1e-5)
        np.testing.assert_allclose(whole, theirs, rtol=1e-5)


def test_bases_stay_orthogonal():
    # Gradients of rank one leave most of a basis open, and zeros all of it, as those of the first hidden layers are.
    slopes = slopes_of(200) * np.r_[np.zeros(12), np.ones(16)]
    slopes[100:, :12] = np.outer(np.random.default_rng(1).normal(size=100), np.ones(12))
    for basis in jax.tree.leaves(steps_of(slopes)[1].bases):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-5)


def test_turned_gradients_take_turned_steps():
    # Adam's steps depend on the axes of the weights; once the bases are those of the gradients, SOAP's do not.
    rng = np.random.default_rng(2)
    turns = [np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (4, 3)]
    slopes = (rng.normal(size=(400, 4, 3)) * [[3.0], [1.0], [0.3], [0.1]] * [2.0, 1.0, 0.3]).reshape(400, -1)
    turned = np.stack([(turns[0] @ g.reshape(4, 3) @ turns[1].T).ravel() for g in slopes])
    ours, theirs = (steps_of(g, ((4, 3),))[0][-1].reshape(4, 3) for g in (slopes, turned))
    assert np.linalg.norm(turns[0] @ ours @ turns[1].T - theirs) < 0.15 * np.linalg.norm(theirs)
