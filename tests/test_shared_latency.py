"""A job measures the latency of each shape once; its records say whose figures they have."""

from __future__ import annotations

from synthetic_records import record, write

from squeezebench.engine.measurement.cost import COUNTED, LATENCIES
from squeezebench.engine.measurement.shape import shape_digest
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.pipeline.plan_file import write_plan
from squeezebench.pipeline.worker import run_job
from squeezebench.report.gather import gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.record import RECORD_NAME, read_record


def test_one_shape_has_one_digest_whatever_its_weights_are():
    shape = shape_digest([recurrent_classifier(6, 5, 3)], 6, 4)
    assert shape == shape_digest([recurrent_classifier(6, 5, 3)], 6, 4)
    factorized = recurrent_classifier(6, 5, 3)
    factorized.layers[0].input_map = LowRankMap(6, 20, 2)
    others = [recurrent_classifier(6, 4, 3), recurrent_classifier(6, 5, 3, "gru"), factorized]
    digests = {shape, shape_digest([recurrent_classifier(6, 5, 3)], 6, 5)}
    digests |= {shape_digest([other], 6, 4) for other in others}
    assert len(digests) == 2 + len(others)

    class Foreign(RecurrentClassifier):
        pass

    assert shape_digest([Foreign(factorized.layers, factorized.head)], 6, 4) == ""


def test_the_seeds_of_a_job_share_the_latency_of_their_shape_and_nothing_else(tmp_path):
    experiment = {
        "name": "e", "tasks": ["digits"], "seeds": [0, 1], "model": {"hidden": 4},
        "training": {"epochs": 1, "batch_size": 256}, "methods": {"dense": {}, "small_dense": {"ratio": 3}},
    }  # fmt: skip
    plan, path, _ = write_plan(check_experiment(experiment, "e"), "e", tmp_path)
    assert len(plan.jobs) == 1
    run_job(path, plan.jobs[0], None)
    records = [read_record(path.parent / run.path / RECORD_NAME) for run in plan.runs]
    first, second, third, fourth = [record.cost for record in records]
    places = [run.path.removeprefix("runs/") for run in plan.runs]
    assert [cost.latency_from for cost in (first, second, third, fourth)] == ["", places[0], "", places[2]]
    for measured, borrowed in ((first, second), (third, fourth)):
        for name in ("latency_shape", *COUNTED, *LATENCIES):
            assert getattr(measured, name) == getattr(borrowed, name) != {}
    assert first.latency_shape != third.latency_shape and first.latency_ms != third.latency_ms
    assert len({record.model_digest for record in records}) == 4
    assert all(stage.core_seconds > 0 for record in records for stage in record.stages)


def test_a_borrowed_latency_has_no_part_in_an_interval_over_seeds(tmp_path):
    """Four seeds of which three are measured, then of which two are: the half width is of the measured ones."""
    for name, borrowed in (("three", [3]), ("two", [1, 3])):
        for seed in range(4):
            own = record("digits", "iss", 0, seed)
            whose = "digits/iss/x/seed-0" if seed in borrowed else ""
            cost = {"latency_ms": own.cost.latency_ms | {"1": 1.0 + seed}, "latency_from": whose}
            own = own.model_copy(update={"cost": own.cost.model_copy(update=cost)})
            write(tmp_path / name, own)
    three, two = (run_groups(gather(tmp_path / name)).iloc[0] for name in ("three", "two"))
    assert three["latency_ms_batch_1_mean"] == two["latency_ms_batch_1_mean"] == 2.5
    assert abs(three["latency_ms_batch_1_half_width"] - 4.303 / 3**0.5) < 0.01  # t of two degrees of freedom
    assert two.isna()["latency_ms_batch_1_half_width"] and not two.isna()["test_accuracy_half_width"]
