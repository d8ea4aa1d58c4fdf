"""Draw the packages of motes as docs/images/house.svg: python scripts/house.py

A package stands on a floor above everything that it imports, by the layers in pyproject.toml. Its area is its lines of
code, and so is the area of each file in it; only the smallest are drawn larger, for their names.
"""

import ast
import tomllib
from pathlib import Path

from markupsafe import escape

ROOT = Path(__file__).parents[1]
SOURCE, OUT = ROOT / "src" / "motes", ROOT / "docs" / "images" / "house.svg"
WIDTH, GAP, LOWEST, HEAD, SCALE = 1000, 14, 42, 22, 26  # units of the picture; SCALE: their square per line of code
GROUND, INK, SOFT = "#0b0908", "#f4ead9", "#b8ab9a"
COLOURS = {"points/": "#63b8ff", "tables/": "#ffb454"}  # the two halves; the rest is common ground
Box = tuple[float, float, float, float]  # x, y, width, height


def count_lines(path: Path) -> int:
    """Return the lines of code of a file, without docstrings, comments and blank lines."""
    text = path.read_text(encoding="utf-8")
    tree, left_out = ast.parse(text), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") and k not in left_out for k, line in lines)


def read_floors() -> list[dict[str, dict[str, int]]]:
    """Return floor -> package or module -> file -> lines of code, the highest floor first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(one["layers"] for one in contracts if one["type"] == "layers")
    floors = []
    for layer in layers:
        names = [part.strip().removeprefix("motes.") for part in layer.split("|")]
        modules = {name: count_lines(SOURCE / f"{name}.py") for name in names if not (SOURCE / name).is_dir()}
        floor = {", ".join(sorted(modules)): modules} if modules else {}  # the modules of a floor are one room
        for name in (name for name in names if name not in modules):
            files = floor.setdefault(f"{name}/", {})
            for path in sorted((SOURCE / name).rglob("*.py")):
                part = path.relative_to(SOURCE / name).parts[0].removesuffix(".py")
                files[part] = files.get(part, 0) + count_lines(path)
        floors.append(floor)
    return floors


def split(items: list[tuple[str, int]], box: Box) -> list[tuple[str, Box]]:
    """Divide a box among items by their size: halves of about equal size, along the longer side."""
    x, y, width, height = box
    if len(items) == 1:
        return [(items[0][0], box)]
    total, k = sum(size for _, size in items), 1
    while k < len(items) - 1 and sum(size for _, size in items[: k + 1]) <= total / 2:
        k += 1
    share = sum(size for _, size in items[:k]) / total
    if width > 1.4 * height:
        return [*split(items[:k], (x, y, width * share, height)),
                *split(items[k:], (x + width * share, y, width * (1 - share), height))]  # fmt: skip
    return [*split(items[:k], (x, y, width, height * share)),
            *split(items[k:], (x, y + height * share, width, height * (1 - share)))]  # fmt: skip


def draw_room(name: str, files: dict[str, int], box: Box) -> str:
    x, y, width, height = box
    colour, lines = COLOURS.get(name, "#8f8272"), sum(files.values())
    fill = f'fill="{colour}22" stroke="{colour}"'
    parts = [f"<g><title>{name}: {lines:,} lines of code</title>", rectangle(box, fill, 5)]
    if width < 6.6 * len(name) + 10:
        turned = text(0, 0, name, INK, 11, "600", "end")
        return "\n".join(
            [*parts, f'<g transform="translate({x + width / 2 + 4:.1f} {y + 8:.1f}) rotate(-90)">{turned}</g></g>']
        )
    parts.append(text(x + 7, y + 15, name, INK, 12, "600"))
    if width > 6.6 * len(name) + 60:
        parts.append(text(x + width - 7, y + 15, f"{lines:,}", SOFT, 10.5, "400", "end"))
    if name.endswith("/") and height > HEAD + 16:
        inner = (x + 4, y + HEAD, width - 8, height - HEAD - 4)
        for file, (fx, fy, fw, fh) in split(sorted(files.items(), key=lambda one: -one[1]), inner):
            parts.append(rectangle((fx + 1, fy + 1, max(fw - 2, 0.5), max(fh - 2, 0.5)), f'fill="{colour}33"', 2))
            if fw > 5.4 * len(file) + 8 and fh > 15 and file != "__init__":
                parts.append(text(fx + 5, fy + 12.5, file, INK, 9.5))
    return "\n".join([*parts, "</g>"])


def rectangle(box: Box, paint: str, radius: float) -> str:
    x, y, width, height = box
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}" {paint}/>'


def text(x: float, y: float, said: str, colour: str, size: float, weight: str = "400", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(said)}</text>"


def draw() -> str:
    floors, y, parts = read_floors(), 34.0, []
    for floor in floors:
        sizes = {name: sum(files.values()) for name, files in floor.items()}
        free = WIDTH - 2 * GAP - GAP * (len(floor) - 1)
        height, least = max(LOWEST, SCALE * sum(sizes.values()) / free), 0.0
        if len(floor) == 1 and (least := 6.6 * len(*floor) + 70) > SCALE * sum(sizes.values()) / height:
            height = max(24.0, SCALE * sum(sizes.values()) / least)
        widths = {name: max(SCALE * size / height, least) for name, size in sizes.items()}
        x = (WIDTH - sum(widths.values()) - GAP * (len(floor) - 1)) / 2
        for name, files in sorted(floor.items()):
            parts.append(draw_room(name, files, (x, y, widths[name], height)))
            x += widths[name] + GAP
        y += height + GAP
    total = sum(sum(files.values()) for floor in floors for files in floor.values())
    head = f"{total:,} lines of code; each package stands above what it imports, and its area is its lines"
    size = f'viewBox="0 0 {WIDTH} {y + 6:.0f}" width="{WIDTH}" height="{y + 6:.0f}"'
    font = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif"'
    ground = f'<rect width="100%" height="100%" rx="10" fill="{GROUND}"/>'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img"><title>The packages of motes</title>'
    return "\n".join([start, ground, text(GAP, 22, head, SOFT, 12), *parts, "</svg>\n"])


if __name__ == "__main__":
    OUT.write_text(draw(), encoding="utf-8")
