"""A whole run, written down: parts by name, TOML in and out.

Names load on first use, so that the texts of the recipes cost no JAX.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
