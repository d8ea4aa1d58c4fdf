"""Arrays in, matplotlib axes or frames out.

Nothing here samples, trains or knows what a model is: a figure takes arrays, and so it can draw anyone's.
No global matplotlib state is touched, and pyplot is never imported: every function works headless and in a thread,
and leaves no figure behind. What a function returns shows itself in a notebook.

`STYLES` is name -> `Style`: light and dark. Names load on first use, so that `braille` needs no matplotlib.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
