"""One page that a person reads top to bottom: HTML without JavaScript, and with nothing to fetch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
