"""What the parser of the command line finds wrong, as all errors: what it got, what was expected, what to do."""

from cyclopts import CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from motes.errors import unknown


def misuse(error: CycloptsError) -> str:
    """The sentences for an error of the parser."""
    commands = " ".join(("motes", *(error.command_chain or ())))
    help_ = f"See `{commands} --help`."
    match error:
        case UnknownCommandError(unused_tokens=[got, *_], app=app) if app is not None:
            names = [name for name in app if not name.startswith("-")]
            return f"{unknown('command', got, names)} {help_}"
        case MissingArgumentError(argument=argument) if argument is not None:
            given = error.keyword or next((token.keyword for token in argument.tokens if token.keyword), None)
            name, about = given or argument.name, (argument.parameter.help or "").rstrip(".")
            if given:
                return f"got {name} without a value; expected one. {about}. {help_}"
            return f"got no {name}; expected {about[:1].lower()}{about[1:]}. {help_}"
        case UnknownOptionError():
            got = error.token.keyword or error.token.value
            if got == "-":
                return (
                    f"got '-'; expected a file: no data is read from standard input. Save it as a .csv first. {help_}"
                )
            names = sorted({name for one in error.argument_collection for name in one.names if name.startswith("--")})
            if "--recipe" in names and (settings := _settings(got)):
                say = " or ".join(f"--set {setting}=..." for setting in settings)
                return f"unknown option '{got}': it is a value of the recipe. Use {say}. {help_}"
            return f"{unknown('option', got, names)} {help_}"
        case UnusedCliTokensError(unused_tokens=[got, *_]):
            return f"got '{got}', which is one word too many; expected options after the last file or name. {help_}"
    return f"{str(error).removeprefix('Invalid value for ')} {help_}"


def _settings(option: str) -> list[str]:
    """The values of recipes, as section.key, that are called like an option."""
    from motes.recipes import load_recipe
    from motes.recipes._registry import keys_of

    key, recipes = option.removeprefix("--").replace("-", "_"), (load_recipe("default"), load_recipe("table"))
    parts = {section: getattr(recipe, section) for recipe in recipes for section in recipe.SECTIONS}
    found = [section for section, part in parts.items() if key in keys_of(type(part))]
    return [f"{section}.{key}" for section in sorted(found, key=lambda one: one not in ("training", "table"))]
