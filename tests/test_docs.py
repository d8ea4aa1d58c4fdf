"""What the documents say is run: a document that does not work is a defect like any other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import motes

ROOT = Path(__file__).parents[1]


def blocks(path):
    """The Python blocks of a Markdown file, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL))


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lines_of_the_readme_run(tmp_path):
    out = run(blocks(ROOT / "README.md"), tmp_path)
    ours, real = (float(re.search(r"0\.\d+", part)[0]) for part in out.split("and two real draws:"))
    # Both are accuracies of the same classifier on 20,000 rows: near 0.5, and far from 0.6, which one would see.
    assert 0.45 < real < 0.55
    assert 0.45 < ours < 0.55
    assert (tmp_path / "roll.safetensors").exists()


@pytest.mark.parametrize("page", ["conditions", "extending", "diagnosis", "likelihood", "report", "tables"])
def test_the_examples_of_a_page_run(page, tmp_path):
    run(blocks(ROOT / "docs" / f"{page}.md"), tmp_path)


def test_the_page_on_findings_names_every_one():
    page = (ROOT / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    code = "".join(path.read_text() for path in (ROOT / "src" / "motes" / "diagnosis").glob("*.py"))
    names = set(re.findall(r'Finding\(\s*"(\w+)"', code))
    assert len(names) > 10
    assert names <= set(re.findall(r"`(\w+)`", page))


def test_the_tutorial_runs_and_leaves_its_film(tmp_path):
    done = subprocess.run([sys.executable, ROOT / "docs" / "tutorial.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.gif"))
    # What it says of the original is what is known of it.
    assert "72,066" in done.stdout or "72066" in done.stdout
    assert "0.778" in done.stdout


def test_the_tutorial_becomes_a_notebook(tmp_path):
    path = tmp_path / "tutorial.ipynb"
    tool = [sys.executable, "-m", "jupytext", "--to", "notebook", "--output", path, ROOT / "docs" / "tutorial.py"]
    subprocess.run(tool, check=True, capture_output=True)
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["kernelspec"]["language"] == "python"
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any("%pip install" in cell and not cell.lstrip().startswith("#") for cell in code)


def test_the_table_of_keys_names_every_key_with_its_default():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in re.split(r"\n##+ ", text)]
    sections = {name: body for title, _, body in parts for name in re.findall(r"`\[(\w+)\]`", title)}
    assert set(sections) == set(motes.Recipe.SECTIONS)
    for name, values in motes.Recipe().to_dict().items():
        if name == "about":
            continue
        for key, value in values.items():
            assert f"`{key}`" in sections[name] or key == "kind", f"{name}.{key}"
            said = str(value).lower() if isinstance(value, bool) else str(value)
            assert said in sections[name], f"{name}.{key} = {value}"


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"])
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
