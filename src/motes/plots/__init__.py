"""Arrays in, matplotlib axes, films or one HTML page out.

No figure samples, trains or knows what a model is: it takes arrays, and so it can draw anyone's.
No global matplotlib state is touched, and pyplot is never imported: every function works headless and in a thread,
and leaves no figure behind. What a function returns shows itself in a notebook. `write_page` makes a report of an
evaluation: one page without JavaScript, and with nothing to fetch.

`STYLES` is name -> `Style`: light and dark. Names load on first use, so that `braille` needs no matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
