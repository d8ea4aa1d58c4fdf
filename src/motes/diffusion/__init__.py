"""The mathematics of Gaussian diffusion: schedules, process, exact denoisers.

    x_t = alpha_t x_0 + sigma_t eps

Nothing here knows data, networks or the rest of motes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
