"""A table <-> codes for masked diffusion: its schema, and what rows of it can be conditioned on."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
