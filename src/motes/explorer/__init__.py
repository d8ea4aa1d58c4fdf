"""A page on which diffusion can be touched: `motes explore` serves it, and it draws what the library computes.

The page is in `page/`, plain files that ask nothing of any other machine. Small trained models are in `models/`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
