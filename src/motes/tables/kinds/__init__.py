"""Column kinds, one class each; a new one is written in its family's file and listed there.

`KINDS` is name -> class; `DROP` is the name by which a column is left out, and so is no kind.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
