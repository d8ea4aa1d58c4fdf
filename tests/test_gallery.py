"""The gallery: thirty short scripts, one picture each, and a page of them."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery"
SCRIPTS = sorted(GALLERY.glob("[0-9][0-9]_*.py"))
LINES, LARGEST = 30, 300_000  # of a script, and bytes of a picture


def test_there_are_thirty_short_scripts_each_with_a_picture_and_a_place_on_the_page():
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "scripts" / "gallery.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert [one.name[:2] for one in SCRIPTS] == [f"{k:02}" for k in range(1, 31)]
    for one in SCRIPTS:
        assert len(one.read_text(encoding="utf-8").splitlines()) <= LINES, one.name
        title, sentence = script.about(one)
        assert not title.endswith(".") and sentence.endswith("."), one.name
        for picture in (one.with_suffix(".png"), GALLERY / "thumbnails" / f"{one.stem}.png"):
            assert picture.stat().st_size <= LARGEST, f"{picture.name}: run make gallery"
    text = (GALLERY / "index.md").read_text(encoding="utf-8")
    assert text == script.page(SCRIPTS), "docs/gallery/index.md is out of date: run make gallery"
    assert all(text.count(f"]({one.stem}.png)") == text.count(f"/{one.stem}.png)") == 1 for one in SCRIPTS)


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=[one.stem for one in SCRIPTS])
def test_a_script_draws_its_picture(script, tmp_path):
    shutil.copy(script, tmp_path)
    subprocess.run([sys.executable, str(tmp_path / script.name)], check=True, env=os.environ | {"MPLBACKEND": "agg"})
    with Image.open(tmp_path / f"{script.stem}.png") as drawn, Image.open(script.with_suffix(".png")) as kept:
        assert drawn.size == kept.size
        assert max(high - low for low, high in drawn.convert("RGB").getextrema()) > 100  # something is on it
