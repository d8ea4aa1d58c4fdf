"""The exact posteriors that `benchmarks/posteriors.py` compares log p with."""

import numpy as np
import pytest
from tests.conftest import benchmark

EXACT, TASKS = benchmark("posteriors_exact").EXACT, benchmark("posteriors").TASKS


def simulated(name, n):
    """Parameters (n, d) from the prior, and what was simulated with them."""
    rng = np.random.default_rng(0)
    theta = TASKS[name].prior(rng, n)
    return theta, TASKS[name].simulate(rng, theta)


def mass(name, theta, one, volume):
    """The integral of the density given one observation, over a volume in which these parameters are spread evenly."""
    return np.exp(EXACT[name](theta, np.broadcast_to(one, (len(theta), len(one))))).mean() * volume


@pytest.mark.parametrize(("name", "bound"), [("two_moons", 1.0), ("gaussian_mixture", 10.0)])
def test_densities_of_two_parameters_integrate_to_one(name, bound):
    _, x = simulated(name, 300)
    middles = bound * (2 * (np.arange(400) + 0.5) / 400 - 1)
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    order = np.abs(x).max(axis=1).argsort()
    for row in order[[0, 150, -1]]:  # the last one is cut by the bounds
        assert abs(mass(name, grid, x[row], 4 * bound**2) - 1) < 0.02


def test_densities_of_linear_tasks_integrate_to_one():
    # In one parameter, with the others where they are: the density is a product.
    for name, bound in (("gaussian_linear", 3.0), ("gaussian_linear_uniform", 1.0)):
        theta, x = simulated(name, 1)
        middles = bound * (2 * (np.arange(2000) + 0.5) / 2000 - 1)
        along = np.repeat(theta, 2000, axis=0)
        along[:, 0] = middles
        alone = EXACT[name](along[:, :1], np.repeat(x[:, :1], 2000, axis=0))
        assert abs(np.exp(alone).mean() * 2 * bound - 1) < 1e-3
        whole = EXACT[name](along, np.repeat(x, 2000, axis=0))
        np.testing.assert_allclose(np.diff(whole), np.diff(alone), atol=1e-9)
