"""One value of a recipe, as the command line writes it: `--set section.key=value`."""

import tomllib
from typing import Any

from motes.errors import RecipeError


def split_change(change: str) -> tuple[str, Any]:
    """ "section.key=value", as on the command line, in its two parts.

    The value is TOML, Python's True or False, or a bare word.

    Raises:
        RecipeError: no "=" or no key.
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: expected section.key=value, such as training.steps=8000.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        word = text.strip()
        value = {"True": True, "False": False}.get(word, word)
    return key.strip(), value
