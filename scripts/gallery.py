"""Make the pictures of the gallery, their thumbnails and its page: python scripts/gallery.py [NAME ...]

Each docs/gallery/NN_name.py draws one picture, NN_name.png, in at most 30 lines; its docstring has
a title and a sentence.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image, ImageOps

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
THUMBNAIL = (210, 140)  # pixels
GROUPS = {  # heading -> number of its last picture
    "Shapes and noise": 7,
    "Scores and flows": 13,
    "Samplers": 16,
    "Guidance and conditions": 19,
    "Failures worth seeing": 22,
    "Learned and exact": 25,
    "Tables": 28,
    "Posteriors": 30,
}


def about(script: Path) -> tuple[str, str]:
    """Return the title and the sentence of a script."""
    title, sentence = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").split("\n\n")
    return title, sentence


def make(script: Path) -> None:
    """Run a script, reduce its picture to 256 colours, and write the thumbnail."""
    picture = script.with_suffix(".png")
    subprocess.run([sys.executable, str(script)], check=True, env=os.environ | {"MPLBACKEND": "agg"})
    with Image.open(picture) as image:
        whole = image.convert("RGB")
    small = ImageOps.fit(whole, THUMBNAIL, Image.Resampling.LANCZOS)
    for one, path in ((whole, picture), (small, GALLERY / "thumbnails" / picture.name)):
        one.quantize(256).save(path, optimize=True)
    print(f"{picture.name}: {picture.stat().st_size / 1000:.0f} kB", flush=True)


def page(scripts: list[Path]) -> str:
    """Return the text of docs/gallery/index.md."""
    titles = {script: about(script) for script in scripts}
    anchor = lambda title: re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    lines = [
        "# Gallery",
        "",
        "Thirty pictures, each drawn by a script of at most 30 lines. `make gallery` draws all.",
        "",
    ]
    lines += [f"[![{title}](thumbnails/{one.stem}.png)](#{anchor(title)})" for one, (title, _) in titles.items()]
    first = 0
    for heading, last in GROUPS.items():
        lines += ["", f"## {heading}"]
        for one in scripts[first:last]:
            title, sentence = titles[one]
            lines += [
                "",
                f"### {title}",
                "",
                sentence,
                "",
                f"![{title}]({one.stem}.png)",
                "",
                f"[{one.name}]({one.name})",
            ]
        first = last
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    scripts = sorted(GALLERY.glob("[0-9][0-9]_*.py"))
    (GALLERY / "thumbnails").mkdir(exist_ok=True)
    for script in scripts:
        if not names or script.stem in names:
            make(script)
    (GALLERY / "index.md").write_text(page(scripts), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
