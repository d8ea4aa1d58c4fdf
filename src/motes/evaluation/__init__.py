"""How good is it? Two sets of rows in, numbers with intervals out; and what is true of a shape."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
