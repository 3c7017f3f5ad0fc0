"""From a record back to the run that made it: its inputs, its method, the state of the process it ran in."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.base.suggestions import near_matches
from squeezebench.engine import provenance
from squeezebench.engine.measurement.files import load_model
from squeezebench.method.discovery import MethodFile, load
from squeezebench.nn.kernels import native
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.pipeline.planner import CONTENTS, fingerprint
from squeezebench.pipeline.worker import spec_of
from squeezebench.schema.differences import Difference
from squeezebench.schema.metrics import ENVIRONMENT, PLACE
from squeezebench.schema.plan import Plan
from squeezebench.schema.record import MODEL_NAME, RECORD_NAME, Provenance, Record, read_record, record_files
from squeezebench.schema.run import RunSpec

AS_RECORDED = ("experiment", "fingerprint", "method", "settings", "varied", "seed", "training", "protocol")
MOST_THREADS = 1024  # a record that says more was not written by a run


@dataclass(frozen=True)
class Recorded:
    """A record, where it is, and the plan of its experiment where that is still there."""

    path: Path  # of record.json
    record: Record
    plan: Plan | None
    plugins: tuple[str, ...] = ()  # that the caller names; those of a plan are code of whoever wrote it

    @property
    def folder(self) -> Path:
        return self.path.parent

    def spec(self) -> RunSpec:
        """Everything that decided the run. Raises InputError if the record does not hold it.

        Records of before `task_spec` take it from their plan, if that is of the very inputs the record was made from.
        """
        record = self.record
        if record.task_spec is not None:
            try:
                return RunSpec(
                    task=record.task_spec,
                    model=record.model or {},
                    tuning=record.provenance.tuning_digest,
                    plugins=self.plugins,
                    **{name: getattr(record, name) for name in AS_RECORDED},
                )
            except ValidationError as error:
                raise InputError(f"{self.path}: {first_problem(error)} (made by another version?)") from None
        spec, origin = self._planned(), record.provenance
        if spec is None or not spec.made(origin.inputs_digest, origin.method_digest):
            raise InputError(
                f"{self.path}: does not say which data its task reads (made by an older version), and there is no "
                "plan.json of this very run above it"
            )
        return spec

    def _planned(self) -> RunSpec | None:
        if self.plan is None:
            return None
        place = self.folder.relative_to(_experiment(self.folder)).as_posix()
        runs = [run for run in self.plan.runs if run.path == place and run.task in self.plan.tasks]
        return spec_of(self.plan, runs[0], plugins=self.plugins) if runs else None

    def method(self, known: dict[str, MethodFile]) -> MethodFile:
        """The file of the record's method, among `known`. Raises InputError if it is not there."""
        if self.record.method not in known:
            raise InputError(f"{self.path}: its method {self.record.method!r} is not there; {self._hint(known)}")
        return known[self.record.method]

    def restore(self, known: dict[str, MethodFile]) -> Callable[[dict], nn.Module]:
        """How the record's method, among `known`, makes a module from its spec, for `read_model`."""
        file = self.method(known)
        return lambda spec: load(file).restore(spec)

    def _hint(self, known: dict[str, MethodFile]) -> str:
        """Where the method may be. A plugin is code, so it is never taken from where a plan says it lies."""
        if self.plan and self.plan.plugins:
            given = " ".join(f"--plugins {shlex.quote(plugin)}" for plugin in self.plan.plugins)
            return f"its experiment had plugins, which are code: if you trust them, give {given}"
        return f"{near_matches(self.record.method, known)} (a plugin's file: --plugins)"


def read_recorded(place: Path, plan: Plan | None = None, plugins: Iterable[str | Path] = ()) -> Recorded:
    """The record at `place` (a run's folder, or its record.json). Raises InputError: missing, damaged."""
    path = record_at(place)
    record = read_record(path)
    plan = plan or plan_in(_experiment(path.resolve().parent))
    return Recorded(path.resolve(), record, plan, tuple(map(str, plugins)))


def record_at(place: Path) -> Path:
    """The record of a run's folder; a record.json is itself. Raises InputError for the folder of an experiment."""
    if not place.is_dir():
        if place.is_file() and place.suffix != ".json":
            raise InputError(f"{place}: is no record; give the folder of a run, or its {RECORD_NAME}")
        return place
    if (place / "plan.json").exists() or not (place / RECORD_NAME).exists():
        if runs := record_files(place):
            raise InputError(f"{place}: is the folder of an experiment; give that of one run, such as {runs[0].parent}")
        if (place / "runs").is_dir():
            raise InputError(f"{place}: is the folder of an experiment, without a finished run; give one below runs/")
        raise InputError(f"{place}: has no {RECORD_NAME}; give the folder of one run")
    return place / RECORD_NAME


def model_of(path: Path, record: Record) -> Path:
    """The file of a finished run's compact network, beside its record at `path`. Raises InputError if it has none."""
    if record.status != "ok":
        raise InputError(f"{path}: the run is {record.status} ({record.reason}); it has no network")
    file = path.parent / MODEL_NAME
    if not file.is_file():
        raise InputError(f"{file}: not there; a run leaves it beside its record, make the run again")
    return file


def read_model(path: Path, restore: Callable[[dict], nn.Module]) -> nn.Module:
    """The module saved at `path`; `restore` makes it from its spec. Raises InputError if the two do not fit."""
    try:
        return load_model(path, restore)
    except InputError:
        raise
    except Exception as error:  # a spec may hold anything, and a method's own from_spec may raise anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read back: {type(error).__name__}: {reason}") from None


def plan_in(folder: Path) -> Plan | None:
    """The plan of an experiment's folder; None if there is none, or one of another version: records do without."""
    try:
        return read_plan(folder / "plan.json")
    except InputError:
        return None


def _experiment(folder: Path) -> Path:
    """The experiment's folder above a run's: what holds `runs/`; the folder itself where there is none."""
    above = [parent.parent for parent in folder.parents if parent.name == "runs"]
    return above[0] if above else folder


@contextmanager
def as_recorded(origin: Provenance) -> Iterator[None]:
    """The thread count of the record and its kernels, for as long as the block lasts."""
    if not 1 <= origin.threads <= MOST_THREADS:
        raise InputError(f"the record says {origin.threads} threads; 1 to {MOST_THREADS} are possible")
    threads = torch.get_num_threads()
    torch.set_num_threads(origin.threads)
    try:
        with native.switched(origin.native):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def quiet() -> Iterator[None]:
    """Torch's own random state and the engine's warnings are the caller's: both are as before afterwards."""
    state, log = torch.get_rng_state(), logging.getLogger("squeezebench")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        torch.set_rng_state(state)
        log.setLevel(level)


def other_data(spec: RunSpec) -> str | None:
    """The fingerprint of the data that are there now, if they are others than those that `spec` was planned with."""
    now = fingerprint(spec.task, spec.plugins)
    comparable = spec.fingerprint.startswith(CONTENTS) == now.startswith(CONTENTS)  # else one is of an older rule
    return now if comparable and now != spec.fingerprint else None


def environment_differences(recorded: Provenance, now: Provenance) -> list[Difference]:
    """What differs in everything but the results: what could explain other bits."""
    known = [name for name in ENVIRONMENT if recorded.cpu_capability or name not in PLACE[1:]]  # by older versions
    pairs = {name.replace("_", " "): tuple("none" if (value := getattr(origin, name)) == "" else value
                                           for origin in (recorded, now))
             for name in (*known, "method_digest", "split_digest")}  # fmt: skip
    for name in sorted({*recorded.packages, *now.packages}):
        pairs[f"package {name}"] = recorded.packages.get(name, "none"), now.packages.get(name, "none")
    return [Difference(what, was, is_now) for what, (was, is_now) in pairs.items() if was != is_now]


def same_arithmetic(origin: Provenance) -> bool:
    """Whether this machine and its packages compute the bits that the record's did."""
    here = provenance.place()
    told = ("machine", "cpu_capability", "variables") if origin.cpu_capability else ("machine",)
    same_packages = origin.packages == provenance.packages(origin.native)
    return same_packages and all(getattr(origin, name) == here[name] for name in told)
