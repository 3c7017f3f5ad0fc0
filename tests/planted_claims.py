"""Runs that give each claim of report/claims each verdict, and one comparison on planted runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from synthetic_records import record, write

from squeezebench.report.claims.file import Check
from squeezebench.report.claims.forms import evaluate
from squeezebench.report.claims.outcome import Outcome
from squeezebench.report.claims.runs import Case
from squeezebench.report.gather import gather
from squeezebench.report.statistics.compare import compared
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.inference import Comparison, Model, Side, Time
from squeezebench.schema.record import Counts

TASK = "digits"
SETTINGS = {"cell": "lstm", "front": "last", "map": "dense", "hidden": 64, "group_lasso": 0, "mask_gates": True,
            "mask_features": True, "scale": "dataset", "finalise": "standard"}  # fmt: skip
EQUAL, LARGER, SMALLER = (
    [middle, middle + 0.001, middle - 0.001, middle, middle + 0.002] for middle in (0.9, 0.95, 0.8)
)
NOISY = [0.80, 0.99, 0.85, 0.95, 0.88]
AGAIN = EQUAL[::-1]


def put(
    folder: Path,
    method: str,
    tests: list[float],
    sizes=1000,
    validation: float = 0.9,
    *,
    task: str = TASK,
    spec: dict | None = None,
    **settings,
) -> None:
    """Runs of one setting, one a seed. sizes: LSTM parameters of 100,000 that are left, one number or one a seed."""
    for seed, value in enumerate(tests):
        one = record("digits", "vib_lstm", 0, seed)
        own = sizes if isinstance(sizes, int) else sizes[seed]
        kept, whole = (Counts(input_to_hidden=n, hidden_to_hidden=0, bias=0, lstm_total=n, model_total=n)
                       for n in (own, 100_000))  # fmt: skip
        planted = {"task": task, "method": method, "method_title": method, "settings": SETTINGS | settings,
                   "varied": settings, "task_spec": spec, "control": method in ("dense", "small_dense"),
                   "baseline": one.baseline.model_copy(update={"counts": whole})}  # fmt: skip
        accuracy = {"validation": validation, "test": value}
        write(folder, record("digits", "vib_lstm", 0, seed, counts=kept.model_dump(), accuracy=accuracy).model_copy(
            update=planted))  # fmt: skip


def case(folder: Path, models: tuple[Model, ...] = (), task: str = TASK) -> Case:
    gathered = gather(folder)
    return Case(task, compared(run_groups(gathered), gathered), gathered, list(models))


def verdict(folder: Path, models: tuple[Model, ...] = (), **check) -> Outcome:
    parsed = TypeAdapter(Check).validate_python({"says": "it", **check})
    return evaluate(parsed, case(folder, models))


def model(dense: dict[str, float], compact: dict[str, float], task="digits", method="vib_lstm") -> Model:
    """A network with times in ms by runtime; quartiles 10 % away."""

    def side(times):
        return Side(ms={k: Time(median=v, low=0.9 * v, high=1.1 * v) for k, v in times.items()}, memory_ms=0,
                    arithmetic_ms=0)  # fmt: skip

    fastest = min(dense, key=dense.get)
    ratios = {name: dense[fastest] / ms for name, ms in compact.items()}
    comparison = Comparison(batch=1, dense=side(dense), compact=side(compact), overhead_ms={}, same_runtime={},
                            fastest_dense=fastest, against_fastest=ratios)  # fmt: skip
    return Model(source="runs/x", task=task, method=method, steps=8, dense_size="2048 x 2048", compact_size="46 x 9",
                 parameters=1, dense_parameters=2, macs=None, dense_macs=None, comparisons=[comparison])  # fmt: skip


@dataclass
class Planted:
    """Runs (the arguments of `put`) and times that give a claim a verdict."""

    runs: list[tuple] = field(default_factory=list)
    models: tuple[Model, ...] = ()
    groups: list[float] | None = None  # test accuracies of dense on a second task, which holds out whole groups

    def __call__(self, method: str, tests=EQUAL, sizes=1000, validation=0.9, **settings) -> Planted:
        self.runs.append((method, tests, sizes, validation, settings))
        return self

    def write(self, folder: Path, task: str = TASK) -> None:
        spec = {"source": "clips", "options": {"folder": task}}
        put(folder, "dense", AGAIN, 100_000, task=task, spec=spec | {"split": "random"})
        if self.groups:
            put(folder, "dense", self.groups, 100_000, task=f"{task} groups", spec=spec | {"split": "group"})
        for method, tests, sizes, validation, settings in self.runs:
            put(folder, method, tests, sizes, validation, task=task, **settings)


def ladder(method: str, good, tests=EQUAL, bad=20, setting="beta", **settings) -> Callable[[Planted], Planted]:
    """A setting that is within a point of dense on validation, and a smaller one that is not."""
    return lambda runs: runs(method, tests, good, **{setting: 1.0}, **settings)(
        method, SMALLER, bad, 0.5, **{setting: 9.0}, **settings
    )


def at_two_sizes(ours, theirs=EQUAL, **settings) -> Planted:
    runs = Planted()
    for size in (10_000, 1000):
        runs("vib_lstm", ours, size, beta=1 / size, **settings)("small_dense", theirs, int(size * 1.2), hidden=size,
                                                                **settings)  # fmt: skip
    return runs


def against_iss(ours, iss=50_000) -> Planted:
    return ladder("iss", iss, AGAIN, setting="strength")(ladder("vib_lstm", ours)(Planted()))


def ablation(gates=196) -> Planted:
    runs = ladder("vib_lstm", gates, bad=30, mask_features=False, hidden=2048)(Planted())
    return runs("vib_lstm", EQUAL, 50_000, mask_gates=False, hidden=2048)("vib_lstm", EQUAL, 6, hidden=2048)


def falls(after, before: float = 0.9) -> Planted:
    runs = Planted()("vib_lstm", SMALLER, beta=0.1, scale="eq15")
    runs("vib_lstm", EQUAL, validation=before, beta=1.0, scale="eq15")
    return runs("vib_lstm", after, beta=2.0, scale="eq15")("vib_lstm", after, beta=5.0, scale="eq15")


def both_masks(both=1000, gates=4000, beta=1.0) -> Planted:
    runs = Planted()("vib_lstm", EQUAL, both, beta=1.0)("vib_lstm", EQUAL, gates, beta=beta, mask_features=False)
    return runs("vib_lstm", EQUAL, 12_000, beta=beta, mask_gates=False)


def along_beta(*sizes) -> Planted:
    runs = Planted()
    for beta, size in zip((0.1, 1.0, 10.0), sizes, strict=False):
        runs("vib_lstm", EQUAL, size, beta=beta)
    return runs


def end_to_end(size=500, tests=LARGER, tensors=("tt", "bt", "tr", "ht")) -> Planted:
    runs = ladder("vib_lstm", size, tests)(Planted())
    for name in tensors:
        runs(f"{name}_lstm", EQUAL, 5000, rank=4)
    return runs


def finalised(kept=None) -> Planted:
    runs = Planted()("vib_lstm", EQUAL, beta=1.0)
    return runs if kept is None else runs("vib_lstm", kept, beta=1.0, finalise="vectors")


def timed(compact: float | None) -> Planted:
    times = {} if compact is None else {"torch": compact, "engine": compact + 9}
    dense = {"torch": 200.0, "engine": 200.0}
    return Planted(models=(model(dense, times),) if times else ())("vib_lstm")


def with_iss(tests=EQUAL, sizes=1000) -> Planted:
    return ladder("vib_lstm", sizes, tests, group_lasso=0.01)(ladder("vib_lstm", 5000, AGAIN)(Planted()))


def by_ratio(
    method: str, tests=EQUAL, failing=300, slack=1.0, ratios=(10, 30, 100, 300), **settings
) -> Callable[[Planted], Planted]:
    """Points at given sizes; from `failing` on no longer within a point of dense on validation."""

    def planted(runs: Planted) -> Planted:
        for ratio in ratios:
            size = round(100_000 / ratio * slack)
            runs(method, tests, size, 0.9 if ratio < failing else 0.5, ratio=ratio, **settings)
        return runs

    return planted


VERDICTS = ("supported", "contradicted", "undecided", "not testable")
# claim -> (supported, contradicted, undecided, not testable with a part of the reason)
WAYS = {
    "01": (against_iss(500), against_iss(5000), against_iss([500, 900, 600, 800, 770]),
           (against_iss(200, iss=5000), "one for each bit of 10 classes")),
    "02": (ablation(), ablation(2000), ablation([100, 200, 300, 150, 250]),
           (Planted()("vib_lstm", EQUAL, 50_000, mask_gates=False, hidden=2048), "mask_features = no")),
    "03": (falls(SMALLER), falls(EQUAL), falls(NOISY), (falls(SMALLER, before=0.1), "has collapsed")),
    "04": (at_two_sizes(LARGER), at_two_sizes(SMALLER), at_two_sizes(AGAIN),
           (Planted()("vib_lstm", EQUAL, 900)("small_dense", EQUAL, 1000), "fewer than two sizes")),
    "05": (timed(1.0), timed(10.0), timed(2.9), (timed(None), "no speed was measured")),
    "06": (timed(1.0), timed(10.0), timed(2.9), (timed(None), "no speed was measured")),
    "07": (finalised(AGAIN), finalised(LARGER), finalised(NOISY), (finalised(), "no run of vib_lstm with finalise")),
    "08": (ladder("vib_lstm", 1000, LARGER)(Planted()), ladder("vib_lstm", 1000, SMALLER)(Planted()),
           ladder("vib_lstm", 1000, NOISY)(Planted()), (ladder("vib_lstm", 1000, LARGER[:3])(Planted()), "3 seeds")),
    "09": (with_iss(), with_iss(SMALLER), with_iss(NOISY),
           (ladder("vib_lstm", 5000)(Planted()), "no run of vib_lstm with group_lasso other than 0")),
    "10": (at_two_sizes(LARGER, front="segments"), at_two_sizes(SMALLER, front="segments"),
           at_two_sizes(AGAIN, front="segments"), (at_two_sizes(LARGER), "front = segments")),
    "11": (end_to_end(), end_to_end(50_000), end_to_end(tests=EQUAL), (end_to_end(tensors=("tt", "bt", "tr")),
                                                                      "no run of ht_lstm")),
    "12": (along_beta(50_000, 5000, 500), along_beta(5000, 4000, 3000),
           along_beta([9000, 90_000, 10_000, 80_000, 50_000], 5000, [900, 60, 900, 50, 300]),
           (along_beta(50_000, 5000), "fewer than three values of beta")),
    "13": (both_masks(), both_masks(4000, 1000), both_masks([500, 8000, 1000, 6000, 3000]),
           (both_masks(beta=3.0), "no two finished settings differ in mask_features alone")),
    "14": (Planted(groups=AGAIN), Planted(groups=SMALLER), Planted(groups=NOISY),
           (Planted(), "no task holds out whole groups")),
}  # fmt: skip
# (claim, its runs, verdict, part of the reason), of points that are given by their size
GIVEN = [
    ("01", by_ratio("iss", AGAIN, 10, ratios=(2, 10))(by_ratio("vib_lstm", failing=100)(Planted())), "contradicted",
     ""),
    ("01", by_ratio("iss", AGAIN, 30)(by_ratio("vib_lstm")(Planted())), "not testable",
     "700× would leave less than an LSTM of 1 input and 4 units"),
    ("02", by_ratio("vib_lstm", mask_gates=False, hidden=2048)(Planted()), "not testable", "were given (ratio)"),
    ("03", by_ratio("vib_lstm", scale="eq15")(Planted()), "not testable", "were given (ratio)"),
    ("04", by_ratio("small_dense", slack=0.95)(by_ratio("vib_lstm", LARGER)(Planted())), "supported", ""),
    ("08", by_ratio("vib_lstm", LARGER)(Planted()), "supported", ""),
    ("09", by_ratio("vib_lstm", AGAIN, 30)(by_ratio("vib_lstm", group_lasso=0.01)(Planted())), "supported", ""),
    ("12", by_ratio("vib_lstm")(Planted()), "not testable", "were given (ratio)"),
    ("13", by_ratio("vib_lstm")(by_ratio("vib_lstm", mask_features=False)(Planted())), "not testable",
     "were given (ratio)"),
]  # fmt: skip


def scenarios() -> dict[str, tuple[str, Planted, str, str]]:
    """Every planted way of every claim, each on a task of its own."""
    every = {}
    for number, (*decided, (runs, why)) in WAYS.items():
        for verdict, planted in zip(VERDICTS, [*decided, runs], strict=True):
            every[f"{number} {verdict}"] = (number, planted, verdict, why if verdict == VERDICTS[-1] else "")
    return every | {f"{given[0]} given {place}": given for place, given in enumerate(GIVEN)}
