"""What a result says about itself: command, commit, versions and machine."""

import os
import platform
import subprocess
from importlib.metadata import version
from typing import Any


def about(command: str, **more: Any) -> dict[str, Any]:
    """Return the entry "about" of a file in benchmarks/results."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: version(name) for name in ("motes", "jax", "jaxlib")}
    machine = {"python": platform.python_version(), "processors": os.cpu_count()}
    return {"command": command, "commit": commit, **versions, **machine, **more}
