"""Models that several modules ask questions of, trained once for all workers."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.linear_simulator import exact_model, simulated

import motes


def kept(factory: pytest.TempPathFactory, name: str, make: Callable[[], motes.Model]) -> motes.Model:
    """What `make()` trains, as its file has it: the first worker to ask writes the file, and the others wait for it."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / f"{name}.safetensors"
    with Path(folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            make().save(path)
    return motes.load(path)


@pytest.fixture(scope="session")
def exact():
    """A posterior of the linear Gaussian simulator whose denoiser is exact."""
    return exact_model()


@pytest.fixture(scope="session")
def learned_posterior(tmp_path_factory):
    """A posterior of the linear Gaussian simulator, near to the exact one: 4,000 simulations, a few seconds."""
    theta, x = simulated(4000, 11)
    changes = {"training.steps": 1500, "schedule.sigma_max": 40.0, "network.members": 1}
    return kept(
        tmp_path_factory, "posterior", lambda: motes.fit(theta, given=x, changes=changes, seed=2, verbose=False)
    )
