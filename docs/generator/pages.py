"""From the repository's Markdown to the pages that Sphinx reads: links between them are rewritten, cards are added.

A link from one file of the repository to another works where both are shown as files. In the site it leads to the page
that is made of the file, to a copy of it (pictures, reports), or, if the site has neither, it becomes the file's name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from docs.generator import api, cards, diagram
from squeezebench.base.places import SOURCES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Files outside docs/ that are pages too.
ELSEWHERE = {
    "config/README.md": "experiments.md",
    "report/reference/README.md": "published/printed-figures.md",
    "benchmarks/README.md": "speed.md",
    "squeezebench/data/embedded/README.md": "data/embedded.md",
    "SECURITY.md": "security.md",
    "results/reference/README.md": "published/index.md",
}
# What leads to a page that is made of no single file.
MADE = {
    "README.md": "index.md",
    "squeezebench/__init__.py": "api.md",
    "squeezebench/method/base.py": "api.md",
    "squeezebench/tools/compression/__init__.py": "api.md",
    "methods": "methods/index.md",
    "squeezebench/data/sources/__init__.py": "data/index.md",
}
EXTRA = "_extra"  # what the site holds as it is
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
NAVIGATION = {
    "Start": [
        "getting-started",
        "tutorials/your-lstm",
        "tutorials/your-data",
        "tutorials/your-method",
        "tutorials/your-figure",
        "tutorials/your-cluster",
        "coming-from",
    ],
    "Understand": ["reading-a-report", "sizes", "protocols", "statistics", "traps", "methods", "glossary"],
    "Look up": [
        "methods/index",
        "data/index",
        "experiments",
        "commands",
        "export",
        "board",
        "api",
        "speed",
        "security",
    ],
    "Results": ["published/index"],
    "Develop": ["architecture"],
}


def stage(target: Path) -> None:
    """Write all pages into the folder `target`, which must not exist."""
    sources = page_sources()
    for page, text in cards.pages().items():
        write(target / page, text)
    write(target / "api.md", api.page())
    for source, page in sources.items():
        text = (ROOT / source).read_text("utf-8")
        if source.endswith(".ipynb"):
            text = notebook(text)
        if source == "docs/architecture.md":
            write(target / "architecture.svg", diagram.svg(diagram.BLOCK.search(text)[1]))
            text = diagram.BLOCK.sub("![Which packages import which](architecture.svg)\n", text)
        write(target / page, rewritten(text, source, page, sources, target))
    listed = rewritten(published(sources), "docs/published/index.md", "published/index.md", sources, target)
    with (target / "published/index.md").open("a", encoding="utf-8") as file:
        file.write(listed)
    notebooks = sorted(page.removesuffix(".md") for page in sources.values() if page.startswith("notebooks/"))
    navigation = NAVIGATION | {"Notebooks": notebooks} if notebooks else NAVIGATION
    with (target / "index.md").open("a", encoding="utf-8") as file:
        for caption, names in navigation.items():
            file.write("\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}\n", *names, "```\n"]))
    for name in ("site.css", "site.js"):
        copy(Path(__file__).with_name(name), target / "_static" / name)


def page_sources() -> dict[str, str]:
    """File of the repository -> its page, for all pages but those that are generated."""
    texts = [*DOCS.rglob("*.md"), *DOCS.glob("notebooks/*.ipynb")]
    own = {path.relative_to(ROOT).as_posix(): path.relative_to(DOCS).with_suffix(".md").as_posix() for path in texts}
    results = (ROOT / "results" / "reference").rglob("README.md")
    own |= {path.relative_to(ROOT).as_posix(): f"published/{path.parent.name}.md" for path in results}
    return own | ELSEWHERE


def rewritten(text: str, source: str, page: str, sources: dict[str, str], target: Path) -> str:
    """The text of `source` with its links as they are in the site; what it shows is copied."""

    def link(match: re.Match) -> str:
        picture, words, address = match.groups()
        if re.match(r"[a-z]+:|#", address) or address == "architecture.svg":
            return match[0]
        place, mark, anchor = address.partition("#")
        path = Path(os.path.normpath((ROOT / source).parent / place))
        if not path.exists() and goal_of(path, sources) is None:
            raise FileNotFoundError(f"{source}: the link {address} leads to nothing")
        name = path.relative_to(ROOT).as_posix()
        if path.name == "report.html":
            copy_report(path, target / EXTRA / name)
            return f'<a href="{os.path.relpath(name, Path(page).parent)}">{words}</a>'
        goal = f"files/{name}" if picture else goal_of(path, sources)
        if picture:
            copy(path, target / goal)
        if goal is None:
            return words if name in words else f"{words} (`{name}`)"
        return f"{picture}[{words}]({os.path.relpath(goal, Path(page).parent)}{mark}{anchor})"

    parts = FENCE.split(text)  # code stands at the odd places
    return "".join(part if place % 2 else LINK.sub(link, part) for place, part in enumerate(parts))


def notebook(text: str) -> str:
    """The cells of a Jupyter notebook as Markdown: its words and its code, without what the code printed."""
    cells = [("".join(cell["source"]).strip(), cell["cell_type"]) for cell in json.loads(text)["cells"]]
    return "\n\n".join(f"```python\n{cell}\n```" if kind == "code" else cell for cell, kind in cells if cell) + "\n"


def goal_of(path: Path, sources: dict[str, str]) -> str | None:
    """The page that stands for a file or a folder of the repository."""
    name = path.relative_to(ROOT).as_posix()
    for candidate in (name, f"{name}/README.md"):
        if candidate in sources:
            return sources[candidate]
    if path.parent == ROOT / "methods" and path.suffix == ".py":
        return f"methods/{path.stem}.md"
    if path.parent == SOURCES and path.suffix == ".py" and path.stem != "__init__":
        return f"data/{path.stem}.md"
    return MADE.get(name)


def published(sources: dict[str, str]) -> str:
    """What follows the list of published experiments: the way to their pages, and their reports."""
    pages = {page for source, page in sources.items() if source.startswith("results/reference/")}
    names = sorted(Path(page).stem for page in pages - {"published/index.md"})
    lines = ["", "```{toctree}", ":hidden:", "", *names, "printed-figures", "```", "", "## The reports", ""]
    for report in sorted((ROOT / "results" / "reference").rglob("report.html")):
        name = report.parent.relative_to(ROOT / "results" / "reference").as_posix()
        lines.append(f"- [{name}](../../results/reference/{name}/report.html)")
    return "\n".join([*lines, ""])


def copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def copy_report(report: Path, to: Path) -> None:
    """A report with all that it links to: its figures, its tables and the audit."""
    copy(report, to)
    for kind in ("figures", "tables"):
        shutil.copytree(report.parent / kind, to.parent / kind, dirs_exist_ok=True)
    if (audit := report.with_name("audit.html")).exists():
        copy(audit, to.with_name("audit.html"))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
