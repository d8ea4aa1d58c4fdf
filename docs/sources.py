"""What the site shows apart from the pages of this folder, as a Sphinx extension of conf.py.

The reference is written from the docstrings of public names, and the list of commands from their help. Notebooks are
read from .py files. Formulas become MathML, so that no page needs JavaScript or another host. Every link to another
page of the built site is checked.
"""

import hashlib
import importlib
import inspect
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import jupytext
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

import motes
from motes.cli import app as commands

DOCS = Path(__file__).parent
ROOT = DOCS.parent
VERSION = motes.__version__
REPOSITORY = os.environ.get("REPOSITORY_URL", "").rstrip("/")  # set where the site is published
DOORS = ("motes", *(f"motes.{name}" for name in motes.__all__ if isinstance(getattr(motes, name), ModuleType)))
APPLICATIONS = ("motes.explorer",)  # without public names
# Pages that stand elsewhere in the checkout, and their pages here.
OUTSIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "benchmarks/README.md": "numbers.md"}

logger = logging.getLogger(__name__)

# The frame of a lab's page is as high as the page, so that its controls are visible. Without JavaScript, and from a
# file, where a browser lets no page see into another, it has the height of the style sheet, and scrolls.
AS_HIGH = (
    "const page = this.contentDocument?.documentElement; "
    "if (page) new ResizeObserver(() => { this.style.height = `${page.offsetHeight + 2}px` }).observe(page)"
)


def hash_sources() -> str:
    """Return a name for the present sources: notebooks run again as soon as these change."""
    files = sorted((ROOT / "src" / "motes").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


CACHE = ROOT / ".cache" / "site" / hash_sources()


# --- notebooks and pages --------------------------------------------------------------------------------------------


def read_notebook(text: str) -> Any:
    """Read a .py file as a notebook without the cell that installs motes; a lab gets its page below its goal."""
    notebook = jupytext.reads(text, "py:percent")
    kept = []
    for cell in notebook.cells:
        if "%pip install" in cell.source:
            words, _, last = kept[-1].source.rpartition("\n\n")
            kept[-1].source = words if "install" in last else kept[-1].source  # the sentence about this cell
        elif cell.source:
            kept.append(cell)
    notebook.cells = kept
    if lab := re.match(r"# Lab (\d+)", kept[0].source):
        number = int(lab[1])
        page = f"pages/lab{number:02}.html"
        links = f'<p class="alone"><a href="lab{number:02}.ipynb" download>Download this lab as a notebook</a>'
        links += f' · <a href="{page}">Open its interactive page alone</a></p>'
        title = f"The idea of lab {number}, to drag"
        frame = f'<iframe class="lab" src="{page}" title="{title}" onload="{AS_HIGH}"></iframe>'
        head, goal, *rest = kept[0].source.split("\n\n", 2)
        kept[0].source = "\n\n".join([head, links, goal, frame, *rest])
    return notebook


def write_notebooks(out: Path) -> None:
    """Write each lab as a notebook, which installs motes from the repository."""
    for path in sorted((DOCS / "course").glob("lab*.py")):
        notebook = jupytext.read(path)
        for cell in notebook.cells:
            if REPOSITORY and cell.source.startswith("%pip install"):
                cell.source = f"%pip install -q git+{REPOSITORY} pandas"
        jupytext.write(notebook, out / "course" / f"{path.stem}.ipynb")


def show_script(found: re.Match[str]) -> str:
    """Show a script of the gallery below its picture."""
    code = (DOCS / "gallery" / found[1]).read_text(encoding="utf-8")
    return f"<details><summary>{found[1]}</summary>\n\n```python\n{code}```\n\n</details>"


def expand_links(app: Sphinx, docname: str, content: list[str]) -> None:
    """Replace a page that is one link to a file elsewhere by this file, and links to such files by links to pages."""
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md" or DOCS not in page.parents:
        return
    if docname == "learn" and (DOCS / "gallery" / "index.md").exists():
        content[0] = content[0].replace("\nexplorer\n", "\nexplorer\ngallery/index\n")
    if docname == "gallery/index":
        content[0] = re.sub(r"^\[(\w+\.py)\]\(\1\)$", show_script, content[0], flags=re.MULTILINE)
    origin = page
    for outside, name in OUTSIDE.items():
        if page == DOCS / name:
            origin = ROOT / outside
            app.env.note_dependency(str(origin))
            head = content[0][1:].partition("]")[0]
            content[0] = re.sub(r"^# .*", f"# {head}", origin.read_text(encoding="utf-8"), count=1)
    pages = {ROOT / outside: DOCS / name for outside, name in OUTSIDE.items()}

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found.groups(default="")
        place = (origin.parent / target).resolve()
        if DOCS in place.parents:
            return f"[{words}]({os.path.relpath(place, page.parent)}{anchor})"
        if place in pages:
            return f"[{words}]({os.path.relpath(pages[place], page.parent)}{anchor})"
        path = place.relative_to(ROOT).as_posix()
        return f"[{words}]({REPOSITORY}/tree/main/{path})" if REPOSITORY else f"{words}"

    if REPOSITORY:
        content[0] = content[0].replace("git clone ADDRESS", f"git clone {REPOSITORY}")
    content[0] = re.sub(r"\[([^\]\[]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)", lambda m: link(m), content[0])


# --- the reference --------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """Write a page if it changed, so that Sphinx reads only what is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n\n"


def write_reference(app: Sphinx) -> None:
    """Write a page for each room of motes and for each public name, and one for the commands."""
    folder, top = DOCS / "reference", set(motes.__all__)
    doors = [door for door in (*DOORS, "motes.tables.kinds") if door not in APPLICATIONS]
    pages = {}
    for door in doors:
        module = importlib.import_module(door)
        rows, own = {"Classes": [], "Functions": [], "Values": []}, []
        for name in sorted(module.__all__, key=str.lower):
            thing = getattr(module, name)
            if isinstance(thing, ModuleType):
                continue
            at_top = door != "motes" and name in top and getattr(motes, name) is thing
            place = f"motes.{name}" if at_top else f"{door}.{name}"
            group = "Classes" if inspect.isclass(thing) else "Functions" if callable(thing) else "Values"
            first = "" if group == "Values" else (inspect.getdoc(thing) or "").partition("\n")[0]
            rows[group].append(f":py:obj:`~{place}`\n   {_escape(first) or 'See above.'}\n")
            if group == "Values":
                rows[group][-1] += f"\n.. py:data:: {place}\n   :no-typesetting:\n"
            elif not at_top:
                own.append(place)
                directive = "autoclass" if group == "Classes" else "autofunction"
                pages[place] = f"{title(name)}.. {directive}:: {place}\n"
        lines = (inspect.getdoc(module) or "").splitlines()
        mend_docstring(app, "module", door, module, None, lines)
        body = "\n".join([f"{title(door)}.. py:module:: {door}\n", *lines, "", ""])
        for head, entries in rows.items():
            body += title(head, "-") + "\n".join(entries) + "\n" if entries else ""
        body += ".. toctree::\n   :hidden:\n\n" + "".join(f"   {place}\n" for place in own)
        pages[door] = body
    listed = "".join(f"   {door}\n" for door in doors)
    about = "Every public name, with shapes, units, errors and an example. The source is one click away.\n\n"
    pages["index"] = f"{title('Reference')}{about}.. toctree::\n   :maxdepth: 1\n\n   commands\n{listed}"
    for place, text in pages.items():
        write(folder / f"{place}.rst", text)
    text = commands.generate_docs(output_format="markdown", flatten_commands=True)
    text = re.sub(r"^## Table of Contents\n.*?(?=^\*\*Commands)", "", text, flags=re.DOTALL | re.MULTILINE)
    write(folder / "commands.md", re.sub(r"^# motes\n", "# Commands\n", text).replace("```console", "```text"))
    kept = {f"{place}.rst" for place in pages} | {"commands.md"}
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink()


def skip_foreign(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a class inherits from other packages."""
    inner = getattr(thing, "fget", None) or getattr(thing, "func", None) or getattr(thing, "__func__", thing)
    module = getattr(inspect.unwrap(getattr(inner, "method", inner)), "__module__", "motes")
    return True if module and not module.startswith("motes") else None


def mend_signature(*given: Any) -> tuple[str | None, str | None]:
    """Write the name of a type alias, which Sphinx wraps within unions."""
    signature, result = given[-2:]
    mend = lambda text: text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
    return mend(signature), mend(result)


def mend_docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make a docstring reStructuredText: indented equations are literal, and |x| and a* are themselves."""
    out: list[str] = []
    section = False  # within "Args:" and the like, whose bodies are indented
    for line in lines:
        indented = line.startswith("    ")
        if line and not line.startswith(" "):
            section = re.fullmatch(r"[A-Z]\w+:", line) is not None
        if indented and not section and (not out or not out[-1].strip()) and not _in_literal(out):
            out += ["::", ""]
        literal = (indented and not section) or line.lstrip().startswith((">>>", "..."))
        out.append(line if literal else _escape(line))
    lines[:] = out


def _in_literal(lines: list[str]) -> bool:
    """Whether the lines end in an indented block, after which blank lines may follow."""
    said = [line for line in lines if line.strip()]
    return bool(said) and said[-1].startswith("    ")


def _escape(line: str) -> str:
    """Escape bars, stars and trailing underscores outside of code."""
    parts = line.split("`")
    parts[::2] = [re.sub(r"(?<!\\)([|*]|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


# --- finishing, and links -------------------------------------------------------------------------------------------


def describe_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Describe a page by its first paragraph, for search engines and cards; mend the links of the pages of source."""
    texts = [node.astext() for node in doctree.findall(nodes.paragraph)] if doctree is not None else []
    context["about"] = " ".join(next((text for text in texts if len(text) > 30), "Diffusion models.").split())[:200]
    body = context.get("body", "")
    # Sphinx guesses the place of a name from its module, and the page has no other name.
    body = re.sub(r'(class="viewcode-back" href="[^"#]*)#[^"]*', r"\1", body)
    # Sphinx writes the parameters of a long signature as a list of definitions of nothing.
    body = re.sub(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>", write_parameters, body)
    context["body"] = body


def write_parameters(found: re.Match[str]) -> str:
    return f'<span class="sig-params">\n{found[1].replace("<dd>", "<span>").replace("</dd>", "</span>")}</span>'


def finish_site(app: Sphinx, error: Exception | None) -> None:
    """Write the labs as notebooks, and check the links of the site."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    write_notebooks(out)
    (out / ".nojekyll").touch()  # GitHub Pages serves folders that begin with an underscore
    for fault in broken_links(out):
        logger.warning(fault)


class Links(HTMLParser):
    """The links of a page and the places in it that can be linked."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {value for key in ("id", "name") if (value := given.get(key))}
        self.links |= {value for key in ("href", "src") if (value := given.get(key)) and tag != "base"}


def broken_links(site: Path) -> list[str]:
    """Return a sentence for each link within the site whose file or place does not exist."""
    pages = {path.resolve(): Links(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    faults = []
    for path, page in pages.items():
        for link in sorted(page.links):
            where, anchor = urldefrag(link)
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            target = (path.parent / unquote(urlsplit(where).path)).resolve() if where else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                faults.append(f"{path.relative_to(site.resolve())}: '{link}' leads to no file")
            elif anchor and target in pages and unquote(anchor) not in pages[target].places:
                faults.append(f"{path.relative_to(site.resolve())}: '{link}' leads to no place on that page")
    return faults


# --- formulas -------------------------------------------------------------------------------------------------------


def to_mathml(latex: str, display: str) -> str:
    """Convert a formula; a command that is not known is a warning, which ends the build."""
    text = convert(latex, display=display)
    text = re.sub(r"(<mi>[a-z]{2,}</mi>)(?!<mo|<mrow><mo)", r'\1<mspace width="0.17em"/>', text)  # as in "log q"
    if unknown := re.search(r"<m\w+[^>]*>\\[^<]+", text):
        logger.warning("unknown command %s in the formula %s", unknown[0], latex)
    return text


def visit_math(self: Any, node: Any) -> None:
    self.body.append(f'<span class="math">{to_mathml(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def visit_math_block(self: Any, node: Any) -> None:
    # The theme's script makes what has this class focusable while it scrolls.
    body = f'<div class="math pst-scrollable-table-container">{to_mathml(node.astext(), "block")}</div>'
    self.body.append(body)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("builder-inited", write_reference)
    app.connect("source-read", expand_links)
    app.connect("html-page-context", describe_page)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("autodoc-process-docstring", mend_docstring, priority=400)
    app.connect("build-finished", finish_site)
    return {"version": VERSION, "parallel_read_safe": True, "parallel_write_safe": True}
