"""Networks, denoisers, losses, times, and the loop that trains them.

`Draw` is how the uniform numbers of a batch of times are drawn: "uniform", "antithetic", "stratified" or "importance".
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
