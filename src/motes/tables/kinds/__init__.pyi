from ._base import Kind
from ._kinds import DROP, KINDS

__all__ = [
    "DROP",
    "KINDS",
    "Kind",
]
