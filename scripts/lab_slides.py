"""Run a lab of docs/course and write its goal, pictures and exercises as slides on one HTML page.

python scripts/lab_slides.py docs/course/lab02.py lab02.html
"""

import ast
import re
import sys
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt

from motes.course import EXERCISES

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>
@page {{ size: 13.33in 7.5in; margin: 0 }}
body {{ margin: 0; background: #ccc; color: #1d2430; font: 22pt/1.35 "DejaVu Sans", sans-serif }}
section {{ box-sizing: border-box; width: 13.33in; height: 7.5in; margin: 0 auto 12px; padding: .45in .7in;
  display: flex; flex-direction: column; justify-content: center; break-after: page; overflow: hidden;
  background: #fff }}
h1 {{ margin: 0 0 .2in; font-size: 30pt }}
p, li {{ margin: .12in 0 }}
img {{ min-height: 0; flex: 1; object-fit: contain }}
@media print {{ body {{ background: none }} section {{ margin: 0 }} }}
</style>{slides}</html>
"""


def slide(heading: str, inner: str) -> str:
    return f"<section><h1>{escape(heading)}</h1>{inner}</section>\n"


def run_cell(code: str, names: dict[str, object]) -> list[object]:
    """Run a cell as a notebook does, and return the figures that it shows."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    shown = getattr(value, "figure", value)
    return [shown] if hasattr(shown, "savefig") else figures


def make_slides(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    title = re.search(r"^# # (.+)$", text, re.MULTILINE)[1]
    goal = re.search(r"^# \*\*Goal\.\*\* (.+?)^#$", text, re.MULTILINE | re.DOTALL)[1].replace("\n# ", " ")
    slides, heading, names = [slide(title, f"<p>{escape(goal)}</p>")], title, {"__name__": "lab"}
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        if cell.startswith(" [markdown]"):
            heading = [heading, *re.findall(r"^# #{2,3} (.+)$", cell, re.MULTILINE)][-1]
            continue
        for figure in run_cell(cell, names):
            buffer = BytesIO()
            figure.savefig(buffer, format="png", dpi=200)
            picture = b64encode(buffer.getvalue()).decode()
            slides.append(slide(heading.replace("$", ""), f'<img alt="" src="data:image/png;base64,{picture}">'))
    own = [one for one in EXERCISES.values() if f"lab{one.lab:02d}" == path.stem]
    items = "".join(f"<li><b>{one.name}</b> ({one.level}): {escape(one.question)}</li>" for one in own)
    slides.append(slide("Exercises", f"<ul>{items}</ul>"))
    return PAGE.format(title=escape(title), slides="".join(slides))


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_file():
        got = " ".join(sys.argv[1:]) or "nothing"
        raise SystemExit(f"got {got}; expected a lab and the page to write, such as docs/course/lab02.py lab02.html")
    Path(sys.argv[2]).write_text(make_slides(Path(sys.argv[1])), encoding="utf-8")
    print(f"Slides in {sys.argv[2]}. Print them as a PDF from your browser.")
