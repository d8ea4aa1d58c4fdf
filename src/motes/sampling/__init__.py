"""From noise to points: one loop, samplers, grids of times, guidance, likelihoods, conditions.

`SAMPLERS` and `GRIDS` are name -> class, as recipes and the command line name them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
