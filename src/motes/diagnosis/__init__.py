"""What is wrong with a run: before it is trained, and after; and where the error of its samples comes from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
