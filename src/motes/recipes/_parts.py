"""What a class of your own that recipes are to name is written with; `register` makes it known."""

from motes._ranges import Checked, number

__all__ = ["Checked", "number"]
