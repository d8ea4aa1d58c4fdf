"""A trained model of points, and one of a table: what is inside a `motes.Model`, with its own arrays and options."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
