"""Figures that the documents print are those of the commands above them, within the noise of another seed."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from motes import cli

DOCS = Path(__file__).parents[1] / "docs"


def printed_after(page, command):
    """The commands of the block that ends with `command`, and what the page prints below it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    block = re.search(rf"^```sh\n([^`]*^{re.escape(command)}[^`]*)^```\n+```\n([^`]*)^```$", text, re.MULTILINE)
    assert block, f"{page} prints nothing below `{command}`"
    return block[1].splitlines(), block[2]


def run(line):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = cli._run(shlex.split(line)[1:], debug=False)
    assert code == 0, err.getvalue()
    return out.getvalue()


def numbers_of(line, name):
    """The numbers of a line that begins with `name`."""
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", line.removeprefix(name))]


# Page, command, and how far each number of a line may be from the page: four times what two seeds differ by, at least.
# A None is a number that another seed changes as it likes, such as a p-value.
PAGES = [
    (
        "diagnosis.md",
        "motes diagnose runs/penguins --out look",
        {
            "columns alone": [0.3],
            "mixture alone": [0.3],
            "model": [0.3],
            "model, training rows": [0.3],
            "spread over orders": [0.3],
            "body_mass_g": [0.2, 0.05, 0.2],
        },
    ),
    (
        "diagnosis.md",
        "motes evaluate runs/moons",
        {
            "sliced_w2": [None, None, 0.02, None, 0.02],
            "c2st": [0.015, 0.015, 0.01, 0.01, None, 0.01],
            "coverage": [0.01, 0.01, 0.006, None, 0.004],
        },
    ),
]


@pytest.mark.long
@pytest.mark.parametrize(("page", "command", "noise"), PAGES, ids=lambda one: one if isinstance(one, str) else "")
def test_what_a_page_prints_is_what_its_commands_print(page, command, noise, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands, shown = printed_after(page, command)
    found = {line: run(line) for line in commands[: commands.index(command) + 1]}[command]
    heads = [[line for line in text.splitlines() if line and not re.search(r"\d", line)] for text in (shown, found)]
    for line in heads[0]:  # sentences and heads of columns, with whatever spaces
        assert line.strip() == "..." or line.split() in [other.split() for other in heads[1]], line
    for name, limits in noise.items():
        pattern = rf"^ *{re.escape(name)} +\S.*$"
        ours, theirs = (re.search(pattern, text, re.MULTILINE) for text in (shown, found))
        assert ours and theirs, name
        pairs = zip(numbers_of(ours[0].strip(), name), numbers_of(theirs[0].strip(), name), limits, strict=True)
        for there, here, limit in pairs:
            assert limit is None or abs(there - here) <= limit, (name, there, here)
