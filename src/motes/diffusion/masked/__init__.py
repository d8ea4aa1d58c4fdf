"""The mathematics of masked diffusion of rows of codes: schedules, process, bound, exact denoisers.

`MASK` is the code of a masked column, -1.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
