"""What each cell of a table of results should say: (template, numbers, note's template, note's numbers)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from csv_files import read_csv
from page_tables import Parsed, says
from recomputed import DENSE, REGISTERED, Group, Results, summary
from recomputed_means import mean
from traced_results import same

KEY = ("task", "protocol", "method", "settings")
FEW = "not enough seeds"

SAME_RUNTIME = "same_runtime_dense_latency_ms_batch_{}"


class Line:
    """One line of a table: its group, and what a comparison with it found."""

    def __init__(self, group: Group, results: Results, row: dict[str, str]):
        self.group, self.results, self.row = group, results, row
        self.first = group.runs[0]

    def seeds(self):
        number = {status: sum(run["status"] == status for run in self.group.runs) for status in ("failed", "skipped")}
        settings = self.first["varied"]
        number["missing"] = sum(
            (run["task"], run["method"], run["settings"]) == (self.group.key[0], self.group.key[2], settings)
            and self.group.key[1] == "sound" for run in self.results.missing
        )  # fmt: skip
        gone = {kind: n for kind, n in number.items() if n}
        if not gone:
            return "{}", [len(self.group.ok)], "", []
        total = len(self.group.ok) + sum(gone.values())
        return "{} of {}", [len(self.group.ok), total], ", ".join(f"{{}} {kind}" for kind in gone), list(gone.values())

    def accuracy(self, name):
        middle, width = self.group.mean(name), self.group.half(name)
        if math.isnan(middle):
            return "–", [], "", []
        if math.isnan(width):
            seeds = {1: "one seed, ", 2: "2 seeds, "}.get(len(self.group.ok), "")
            return "{} %", [100 * middle], f"{seeds}no interval", []
        return "{} ± {} %", [100 * middle, 100 * width], "", []

    def ratio(self):
        value, (low, high) = self.group.ratio(), self.group.ratio_interval
        note = f"vs {self.first['baseline']['name']}"
        if math.isinf(value):
            return "no LSTM", [], note, []
        if math.isnan(low) or f"{low:.3g}" == f"{high:.3g}":
            return "{}×", [value], note, []
        return "{}× [{}×, {}×]", [value, low, high], note, []

    def share(self, name):
        """A share of the baseline's count in per cent."""
        return "{} ± {} %", [100 * self.group.mean(name), 100 * self.group.half(name)], "", []

    def error(self):
        return (
            "{} ± {} %",
            [100 - 100 * self.group.mean("test_accuracy"), 100 * self.group.half("test_accuracy")],
            "",
            [],
        )

    def structure(self):
        """Widths as the papers print them, the mean of each over the seeds."""
        kept = np.array([run["kept"]["structure"] for run in self.group.ok])
        of = self.group.ok[0]["kept"]["of_structure"]
        return "-".join(f"{width:.0f}" for width in kept.mean(0)), [], f"of {'-'.join(map(str, of))}", []

    def number(self, name, unit=""):
        value = self.group.mean(name)
        return ("–", [], "", []) if math.isnan(value) else (f"{{}}{unit}", [value], "", [])

    def kept(self, which):
        found = [run["kept"][f"of_{which}"] for run in self.group.ok]
        of = mean([float(sum(one) if isinstance(one, list) else one) for one in found])
        return "{} of {}", [self.group.mean(f"kept_{which}"), of], "", []

    def beside(self, name, dense):
        template, values, _, _ = self.number(name)
        if self.group.key[2] in DENSE:
            return template, values, "", []
        return template, values, "dense {}", [self.group.mean(dense)]

    def points(self, which):
        found = self.results.compared.get((self.group.key, which))
        if found is None:
            return "–", [], "", []
        other, title = found.partner, found.partner.runs[0]["method_title"]
        label = settings_text(other.runs[0]["varied"])
        note = {"dense": f"vs {title}" + ("" if label == "defaults" else f" {label}"),
                "small": f"vs {label}, {{}}×", "control": f"vs {title} {label}, {{}}×"}[which]  # fmt: skip
        numbers = [] if which == "dense" else [other.ratio()]
        if numbers and math.isinf(numbers[0]):
            note, numbers = note.replace("{}×", "no LSTM"), []
        if found.n < 3:
            return FEW, [], f"{note}, {{}} pair" + ("" if found.n == 1 else "s"), [*numbers, found.n]
        low, high = found.difference - found.half, found.difference + found.half
        return "{} [{}, {}]", [100 * found.difference, 100 * low, 100 * high], note, numbers

    @property
    def registered(self):
        return float(self.row["bracket"]) == REGISTERED

    def detectable(self):
        found = self.results.compared.get((self.group.key, "small"))
        if not self.registered or found is None or found.n < 3 or self.results.control(self.group):
            return "–", [], "", []
        note = ("1 point: test set too small", []) if math.isinf(found.seeds_needed) else (
            "1 point: {} seeds", [found.seeds_needed])  # fmt: skip
        return "{}", [100 * found.detectable], *note

    def statistic(self, name):
        if name not in self.summary:  # no dense run of this protocol
            return "–", [], "", []
        value, group = self.summary[name]
        never = {"near_dense": "not reached", "hypervolume": "no LSTM"}.get(name)
        never = never or f"none at {int(name.rpartition('_')[2]):,}×"
        if not value > -math.inf:
            return never, [], "", []
        if name == "hypervolume":
            return "{}", [value], "", []
        label = settings_text(group.runs[0]["varied"])
        accuracy = [100 * group.mean("test_accuracy"), 100 * group.half("test_accuracy")]
        if name == "near_dense":
            show, values = ("no LSTM", []) if math.isinf(value) else ("{}×", [value])
            return show, values, f"{label}: {{}}, {{}} ± {{}} % on test", [group.size, *accuracy]
        own = group.ratio()
        note, ratio = (f"{label}, no LSTM", []) if math.isinf(own) else (f"{label}, {{}}×", [own])
        return "{} ± {} %", accuracy, note, ratio

    @cached_property
    def summary(self):
        return summary(self.results, *self.group.key[:3])

    def stored(self, kind):
        own = self.group.mean(f"test_accuracy_{kind}")
        lost = own - self.group.mean("test_accuracy")
        return "{}", [self.group.mean(f"bytes_{kind}")], "{} % ({})", [100 * own, 100 * lost]

    def timed(self, name):
        low, high = (self.group.mean(f"{name}_{end}") for end in ("low", "high"))
        return "{}", [self.group.mean(name)], "{} to {}", [low, high]

    def same_runtime(self, batch):
        own, dense = (self.group.mean(name.format(batch)) for name in ("latency_ms_batch_{}", SAME_RUNTIME))
        if self.group.key[2] in DENSE:
            return "{}", [own], "", []
        return "{}", [dense], "{}×", [dense / own]

    def fastest(self, batch):
        names = sorted({run["cost"]["fastest_dense_runtime"][batch] for run in self.group.ok})
        return "{}", [self.group.mean(f"fastest_dense_latency_ms_batch_{batch}")], " or ".join(names), []


def settings_text(varied: dict) -> str:
    """`beta = 0.04`: as the tables name a setting."""
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in sorted(varied.items())}
    return ", ".join(f"{key} = {value}" for key, value in shown.items()) or "defaults"


Expected = Callable[[Line], tuple[str, list, str, list]]
WORDS: dict[str, Expected] = {  # columns without numbers of their own, the same in every table
    "Task": lambda line: (line.group.key[0], [], "", []),
    "Method": lambda line: (line.first["method_title"], [], METHOD_NOTES.get(line.group.key[2], ""), []),
}
METHOD_NOTES = {"small_dense": "small_dense", "magnitude_units": ""}  # where the title says another name


def settings_cell(line: Line) -> tuple[str, list, str, list]:
    return settings_text(line.first["varied"]), [], "", []


POINTS = {"Points to dense": "dense", "Points to small_dense": "small", "Points to best control": "control"}
TABLES: dict[str, dict[str, Expected]] = {
    "groups": WORDS | {
        "Settings": settings_cell,
        "Seeds": Line.seeds,
        "Test accuracy": lambda line: line.accuracy("test_accuracy"),
        "Validation": lambda line: line.accuracy("validation_accuracy"),
        "Macro F1": lambda line: line.accuracy("macro_f1"),
        "Balanced accuracy": lambda line: line.accuracy("balanced_accuracy"),
        "LSTM parameters": lambda line: line.number("lstm_parameters"),
        "Ratio (LSTM parameters)": Line.ratio,
        "Whole model": lambda line: line.number("model_parameters"),
        "Inputs kept": lambda line: line.kept("inputs"),
        "Hidden kept": lambda line: line.kept("hidden"),
        "On disk": lambda line: line.number("bytes"),
        "MACs": lambda line: line.number("macs"),
        "Latency, ms": lambda line: line.beside("latency_ms_batch_1", SAME_RUNTIME.format(1)),
        "Training, s": lambda line: line.number("train_seconds"),
    },
    "selected": WORDS | {
        "At least": lambda line: ("{}×", [float(line.row["bracket"])], "registered" * line.registered, []),
        "Settings picked": settings_cell,
        "Seeds": Line.seeds,
        "Ratio (LSTM parameters)": Line.ratio,
        "Validation": lambda line: line.accuracy("validation_accuracy"),
        "Test accuracy": lambda line: line.accuracy("test_accuracy"),
        **{title: lambda line, which=which: line.points(which) for title, which in POINTS.items()},
        "Detectable": Line.detectable,
    },
    "summary": WORDS | {
        "Hypervolume": lambda line: line.statistic("hypervolume"),
        "Ratio at dense −0.5": lambda line: line.statistic("near_dense"),
        **{f"Accuracy at {least:,}×": lambda line, least=least: line.statistic(f"accuracy_{least}")
           for least in (10, 30, 100)},
        "Seeds": lambda line: ("{}", [len({run["seed"] for g in same_method(line) for run in g.ok})], "", []),
        "Settings": lambda line: ("{}", [len(same_method(line))], "", []),
    },
    "cost": WORDS | {
        "Settings": settings_cell,
        "Ratio (LSTM parameters)": Line.ratio,
        "On disk: float32": lambda line: line.number("bytes"),
        **{f"On disk: {kind}": lambda line, kind=kind: line.stored(kind) for kind in ("float16", "int8")},
        "MACs": lambda line: line.beside("macs", "dense_macs"),
        "Activations": lambda line: line.beside("peak_activation_bytes", "dense_peak_activation_bytes"),
        **{f"Latency at batch {batch}, ms: Compact": lambda line, batch=batch: line.timed(f"latency_ms_batch_{batch}")
           for batch in (1, 10)},
        **{f"Latency at batch {batch}, ms: Dense": lambda line, batch=batch: line.same_runtime(batch)
           for batch in (1, 10)},
        **{f"Latency at batch {batch}, ms: Fastest dense": lambda line, batch=str(batch): line.fastest(batch)
           for batch in (1, 10)},
    },
}  # fmt: skip


def renamed(table: dict[str, Expected]) -> dict[str, Expected]:
    """The columns of a table of feed-forward tasks: their sizes are weights."""
    words = {"LSTM parameters": "Weights", "Ratio (LSTM parameters)": "Ratio (weights)",
             "Points to small_dense": "Points to small_network"}  # fmt: skip
    return {words.get(title, title): cell for title, cell in table.items()}


NETWORKS = {name: renamed(table) for name, table in TABLES.items()}
NETWORKS["groups"] = {t: c for t, c in NETWORKS["groups"].items() if t not in ("Inputs kept", "Hidden kept")} | {
    "Weights": lambda line: line.number("weights"),
    "Error": Line.error,
    "r_W": lambda line: line.share("share_weights"),
    "r_N": lambda line: line.share("share_neurons"),
    "Structure": Line.structure,
}


def same_method(line: Line) -> list[Group]:
    task, protocol, method, _ = line.group.key
    return [group for group in line.results.able(task, protocol) if group.key[2] == method]


def line_of(row: dict[str, str], results: Results) -> Line:
    """The line that a row of the CSV beside a table is about."""
    if "settings" in row:
        return Line(results.groups[tuple(row[name] for name in KEY)], results, row)
    key = tuple(row[name] for name in KEY[:3])
    return Line(next(group for group in results.groups.values() if group.key[:3] == key), results, row)


def every_cell_recomputed(table: Parsed, path: Path, known: dict[str, Expected], results: Results, none: str) -> None:
    """Holds each cell of a page's table, whose CSV is `path`, against what `known` makes of its line; none: what it
    says where nothing is left to compare sizes with. AssertionError names where they differ."""
    assert sorted(table.heads) == sorted(known), "a column that nobody recomputes"
    lines = [line_of(row, results) for row in read_csv(path)]
    assert len(lines) == len(table.rows) > 0
    for line, cells in zip(lines, table.rows, strict=True):
        for title, cell in zip(table.heads, cells, strict=True):
            template, values, note, numbers = known[title](line)
            where = (path.stem, line.group.key, title, cell)
            assert says(cell.text, template.replace("no LSTM", none), *values), (*where, template, values)
            assert says(cell.note, note.replace("no LSTM", none), *numbers), (*where, note, numbers)
            assert cell.marks == (marks(line) if title == "Method" else []), where


def every_column_recomputed(path: Path, known: dict[str, Callable], results: Results) -> None:
    """Holds each value of a CSV against what `known` makes of its line; AssertionError names where they differ."""
    rows = read_csv(path)
    assert rows and set(rows[0]) <= set(known), "a column that nobody recomputes"
    for row in rows:
        line = line_of(row, results)
        for column, text in row.items():
            value = known[column](line)
            assert same(text, value), (path.stem, line.group.key, column, text, value)


def marks(line: Line) -> list[str]:
    some = same_method(line) if "n_settings" in line.row else [line.group]
    runs, plan = [run for group in some for run in group.runs], line.results.plan
    stale = sum(run["provenance"]["engine_digest"] != plan["engine_digest"] for run in runs)
    found = ["control"] if line.first["control"] else []
    found += ["as released"] if line.group.key[1] == "as_released" else []
    return found + ([f"{stale} stale"] if stale else [])
