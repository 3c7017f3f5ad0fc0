"""A card for each method and each data set: from its code, the printed tables, the published records and the traps."""

from __future__ import annotations

import csv
import inspect
import json
import re
from collections.abc import Iterable
from functools import cache
from math import inf
from pathlib import Path

import yaml

from squeezebench.data.sources import available, source_module
from squeezebench.method.discovery import find_methods, load
from squeezebench.schema.reference import read_block

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "reference"
CONCERNS = re.compile(r"^## (.+)\n+Concerns: (.+)$", re.MULTILINE)
CONTROLS = ("dense", "dense_network", "small_dense", "small_network", "pooled_linear")
KINDS = {"sequence": "sequences", "video": "videos", "image": "images"}


def pages() -> dict[str, str]:
    """Page -> its text, indices included."""
    methods, sources = find_methods(), available()
    made = {f"methods/{name}.md": method_card(name) for name in methods}
    made |= {f"data/{name}.md": data_card(name) for name in sources}
    rows = [
        (
            f"[{name}]({name}.md)",
            escaped(load(file).title),
            kinds(load(file)),
            "a control" if load(file).control else "",
        )
        for name, file in methods.items()
    ]
    intro = (
        "One file of `methods/` is one method. Each card is generated from that file and from the published records."
    )
    made["methods/index.md"] = index("Methods", intro, ["name", "method", "for", ""], rows)
    rows = [(f"[{name}]({name}.md)", escaped(source.summary)) for name, source in sources.items()]
    intro = (
        "What `source:` of a task may name. Each card is generated from the code of the source and from the records."
    )
    made["data/index.md"] = index("Data sets", intro, ["name", "data"], rows, ["embedded"])
    return made


def index(title: str, intro: str, heads: list[str], rows: list[tuple[str, ...]], more: Iterable[str] = ()) -> str:
    names = [re.match(r"\[(\w+)\]", row[0])[1] for row in rows]
    tree = "\n".join(["```{toctree}", ":hidden:", "", *names, *more, "```", ""])
    return f"# {title}\n\n{intro}\n\n{table(heads, rows)}\n{tree}"


# --- methods


def method_card(name: str) -> str:
    """Equation, settings, published figures, our figures and traps of one method."""
    method = load(find_methods()[name])
    first, _, rest = inspect.getdoc(method).partition("\n\n")
    what = "A control" if method.control else "A method"
    parts = [
        f"# {escaped(method.title)}",
        "",
        f"`{name}`. {what} for {kinds(method)}. Source: {escaped(method.paper)}.",
        "",
        "## Equation",
        "",
        f"> {escaped(' '.join(first.split()))}",
        "",
        paragraphs(rest),
        "",
        "## Settings",
        "",
        settings(method),
        "## Published figures",
        "",
        published(name),
        "## Our figures",
        "",
        measured(lambda row, _: row["method"] == name),
        "## Known traps",
        "",
        traps(name),
    ]
    return "\n".join(parts)


def kinds(method: type) -> str:
    return " and ".join(KINDS[kind] for kind in method.kinds)


def settings(method: type) -> str:
    fields = method.Settings.model_json_schema().get("properties", {})
    rows = [
        (
            f"`{name}`",
            f"`{json.dumps(field.get('default'))}`",
            ", ".join(map(str, field.get("search", []))),
            escaped(field.get("description", "")),
        )
        for name, field in fields.items()
    ]
    return table(["setting", "default", "searched by `tuning:`", "meaning"], rows)


@cache
def printed_names() -> dict[str, set[tuple[str, str]]]:
    """Method -> (block of report/reference, printed name of its row), as the experiments of config/ say."""
    names: dict[str, set[tuple[str, str]]] = {}
    for path in sorted((ROOT / "config").rglob("*.yaml")):
        for told in yaml.safe_load(path.read_text("utf-8")).get("tables", []):
            for row, ours in told.get("rows", {}).items():
                if "printed" in told:
                    names.setdefault(ours["method"], set()).add((told["printed"], row))
    return names


def published(name: str) -> str:
    """The rows of the papers' tables that an experiment of config/ holds against this method."""
    parts: list[str] = []
    mine = printed_names().get(name, set())
    for block in map(read_block, sorted({block for block, _ in mine})):
        source = block.source
        shown = [line for key, line in zip(block.keys, block.lines, strict=True) if (block.name, key) in mine]
        parts += [f"{escaped(source['paper'])}, {escaped(source['place'])}, as printed:", ""]
        parts.append(table(list(shown[0]), [tuple(map(escaped, line.values())) for line in shown]))
    if not parts:
        return "No table of `report/reference/` has a row of this method.\n"
    note = "What does not add up in these tables is in the audit: `squeezebench audit`.\n"
    return "\n".join([*parts, note])


def traps(name: str) -> str:
    """Links to the sections of docs/traps.md that name this method or data set."""
    text = (ROOT / "docs" / "traps.md").read_text("utf-8")
    mine = [title for title, who in CONCERNS.findall(text) if f"`{name}`" in who]
    lines = [f"- [{title}](../traps.md#{slug(title)})" for title in mine]
    return "\n".join(lines or ["None is known that is not in the text above."]) + "\n"


def slug(title: str) -> str:
    """A heading's anchor, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


# --- data sets


def data_card(name: str) -> str:
    """Origin, licence, split, leak, options and figures of one data source."""
    source, module = available()[name], source_module(name)
    _, _, rest = inspect.getdoc(module).partition("\n\n")
    parts = dict(re.findall(r"^(Licence|Leak): (.+?)(?=\n\n|\nLeak: |\Z)", rest, re.MULTILINE | re.DOTALL))
    if parts.keys() != {"Licence", "Leak"}:
        raise ValueError(f"data source {name}: its docstring must have the paragraphs `Licence:` and `Leak:`")
    origin = re.split(r"^Licence: ", rest, flags=re.MULTILINE)[0]
    split = source.default_split or "official if the data have `subset`, else by group, else at random"
    fields = source.options.get("properties", {})
    options = [
        (
            f"`{key}`",
            f"`{json.dumps(field['default'])}`" if "default" in field else "must be given",
            escaped(field.get("description", "")),
        )
        for key, field in fields.items()
    ]
    text = [
        f"# {name}",
        "",
        f"**{escaped(source.summary)}**",
        "",
        "## Origin and form",
        "",
        paragraphs(origin),
        "",
        "## Licence",
        "",
        paragraphs(parts["Licence"]),
        "",
        "## Split",
        "",
        f"Default: {split}.",
        "",
        "## Leak",
        "",
        paragraphs(parts["Leak"]),
        "",
        "## Options",
        "",
        table(["option", "default", "meaning"], options) if options else "It has none.\n",
        "## Our figures",
        "",
        measured(lambda row, task: task == name and row["method"] in CONTROLS),
        "## Known traps",
        "",
        traps(name),
    ]
    return "\n".join(text)


# --- records


@cache
def groups() -> list[tuple[str, str, dict[str, str]]]:
    """(published experiment, data source, row of its groups.csv), one for each run group."""
    rows = []
    for plan in sorted(RESULTS.rglob("plan.json")):
        tasks = json.loads(plan.read_text("utf-8"))["config"]["tasks"]
        experiment = plan.parent.relative_to(RESULTS).as_posix()
        for row in read(plan.parent / "tables" / "groups.csv"):
            task = tasks.get(row["task"], {}) if isinstance(tasks, dict) else {}
            rows.append((experiment, task.get("source", row["task"]), row))
    return rows


def measured(wanted) -> str:
    """The published run groups for which `wanted(row, source)`: accuracy, size, seeds, and where the records are."""
    rows, unreached = [], []
    for experiment, source, row in groups():
        if not wanted(row, source):
            continue
        varied = ", ".join(f"{key} {value}" for key, value in json.loads(row["varied"]).items()) or "defaults"
        if row["ok"] == "0":
            unreached.append(f"{row['task']} ({varied})")
            continue
        ratio = float(row.get("ratio_weights") or row.get("ratio_lstm_parameters") or inf)
        rows.append(
            (
                f"[{experiment}](../published/{experiment.split('/')[0]}.md)",
                row["task"],
                row["method"],
                escaped(varied),
                f"{ratio:.1f}" if ratio < inf else "no LSTM",
                accuracy(row),
                row["ok"],
                row["test_accuracy_covers"] if row["test_accuracy_half_width"] else "none",
            )
        )
    if not rows and not unreached:
        return "None is published yet.\n"
    heads = [
        "experiment",
        "task",
        "method",
        "settings",
        "times smaller",
        "test accuracy, %",
        "seeds",
        "interval covers",
    ]
    note = "Mean and 95 % interval. Each number is in `tables/groups.csv` of its experiment.\n"
    text = table(heads, rows) + "\n" + note if rows else ""
    if unreached:
        text += f"\nNo result, with the reason in the records: {escaped('; '.join(unreached))}.\n"
    return text


def accuracy(row: dict[str, str]) -> str:
    """Mean, and half width if there is an interval."""
    mean, half = 100 * float(row["test_accuracy_mean"]), row["test_accuracy_half_width"]
    return f"{mean:.1f} ± {100 * float(half):.1f}" if half else f"{mean:.1f}"


# --- Markdown


@cache
def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(heads: list[str], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |" for line in lines) + "\n"


def escaped(text: str) -> str:
    """Plain text as Markdown that reads the same; `code` stays code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if place % 2 else re.sub(r"([\\*<>|\[\]~$]|(?<!\w)_|_(?!\w))", r"\\\1", part)
        for place, part in enumerate(parts)
    )


def paragraphs(text: str) -> str:
    """A docstring's paragraphs; those that are a table already stay as they are."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(block if block.startswith("|") else escaped(" ".join(block.split())) for block in blocks)
