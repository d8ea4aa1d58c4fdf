"""A run in a folder: trained, evaluated, drawn, gone on with; and the pictures of a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
