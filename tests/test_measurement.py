"""What is counted: parameters, bytes, multiply-accumulates, on the module that is scored."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from squeezebench.engine.measurement.cost import cost, store
from squeezebench.engine.measurement.counts import count, stored_numbers
from squeezebench.engine.measurement.files import PRECISIONS, deserialise, load_model, quantised, save_model, serialise
from squeezebench.engine.measurement.latency import DenseReference, Timing, forward_of, timings
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.measurement.memory import peak_activation_bytes
from squeezebench.method import TaskInfo, closed_form
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.sparse import SparseMap
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.shrink import compact_masked
from squeezebench.nn.rnn.cells import known_cells
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.tools.check_method import case_of
from squeezebench.tools.counting import construct

GATES = {"lstm": 4, "gru": 3}
CELLS = known_cells()


def lstm_count(inputs: int, hidden: int, gates: int = 4) -> int:
    """PyTorch's two bias vectors, as the papers count."""
    return gates * hidden * (inputs + hidden + 2)


# ---------------------------------------------------------------------- parameters


@settings(max_examples=40)
@given(st.sampled_from(["lstm", "gru"]), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(2, 5))
def test_counts_of_our_layers_and_of_torchs_are_the_formula(cell, inputs, hidden, layers, classes):
    gates = GATES[cell]
    reads = [inputs] + [hidden] * (layers - 1)
    total = sum(gates * hidden * (d + hidden + 2) for d in reads)  # 4h(d + h + 2)
    ours = count(recurrent_classifier(inputs, hidden, classes, cell, layers))
    torchs = count(DenseReference(inputs, hidden, layers, classes, cell))
    assert ours == torchs
    assert ours.lstm_total == total == sum(lstm_count(d, hidden, gates) for d in reads)
    assert ours.head == classes * (hidden + 1) and ours.model_total == total + ours.head
    formula = closed_form(inputs, [hidden] * layers, cell)
    assert formula == {key: getattr(ours, key) for key in formula}


def test_the_papers_numbers():
    frames, features = closed_form(57600, [256]), closed_form(4096, [512])
    assert frames["lstm_total"] == lstm_count(57600, 256) == 59_246_592  # UCF11, as the tensor papers read it
    assert frames["input_to_hidden"] == 58_982_400
    assert features["lstm_total"] == lstm_count(4096, 512) == 9_441_280  # UCF101, VGG-16


def test_what_is_in_front_of_the_recurrence_counts_for_the_model_not_for_the_lstm():
    model = recurrent_classifier(5, 4, 3, front=TemporalSegments(5, 2))
    counts = count(model)
    assert counts.lstm_total == lstm_count(5, 4)
    assert counts.head == (4 * 3 + 3) + 2 * (5 + 5)  # the head, and scale and shift of two batch norms


def test_masks_in_training_and_vectors_that_stay_are_counted():
    model = recurrent_classifier(5, 4, 3)
    model.layers[0].gate_masks.update({gate: BottleneckMask(4) for gate in "ifgo"})
    assert count(model).mask_vectors == 4 * 2 * 4  # mu and log sigma^2 of each gate
    compact = compact_masked(model, keep_factors=True)
    counts = count(compact)
    assert counts.mask_vectors == 2 * 4  # z_i z_g and z_f
    assert counts.lstm_total == lstm_count(5, 4) + 8
    assert counts.model_total == sum(p.numel() for p in compact.parameters())


def test_a_removed_unit_is_gone_from_every_count():
    model = recurrent_classifier(5, 4, 3)
    model.layers[0].gate_masks["o"] = BottleneckMask(4)
    nn.init.constant_(model.layers[0].gate_masks["o"].log_var, -9.0)
    with torch.no_grad():
        model.layers[0].gate_masks["o"].log_var[1] = 9.0
    assert count(compact_masked(model)) == count(recurrent_classifier(5, 3, 3))


def sparse_model(keep: int) -> RecurrentClassifier:
    """LSTM of 4 units on 5 inputs with `keep` non-zero weights in each matrix."""
    torch.manual_seed(0)
    maps = []
    for columns in (5, 4):
        weight = torch.zeros(16 * columns)
        weight[torch.randperm(16 * columns)[:keep]] = 1.0 + torch.rand(keep)
        maps.append(SparseMap.from_dense(weight.view(16, columns)))
    return RecurrentClassifier([RecurrentLayer(*maps, "lstm")], nn.Linear(4, 3))


def test_a_sparse_matrix_is_counted_with_its_indices():
    counts = count(sparse_model(10))
    assert counts.input_to_hidden == counts.hidden_to_hidden == 10 + 10 + 17  # values, columns, row pointers
    assert counts.lstm_total == 2 * 37 + 32
    assert count(sparse_model(60)).lstm_total > lstm_count(5, 4)  # hardly sparse is larger than dense


def test_buffers_count_only_where_a_module_says_that_they_are_data():
    module = nn.Linear(3, 2)
    module.register_buffer("statistics", torch.zeros(9))
    assert stored_numbers(module) == 8
    module.counted_buffers = ("statistics",)
    assert stored_numbers(module) == 17


# ---------------------------------------------------------------------- multiply-accumulates


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_macs_are_those_of_the_matrix_products(cell, layers, steps):
    inputs, hidden, classes = 6, 5, 3
    model = recurrent_classifier(inputs, hidden, classes, cell, layers)
    reads = [inputs] + [hidden] * (layers - 1)
    per_step = {  # W x and U h
        "lstm": lambda d: 4 * hidden * (d + hidden),
        "gru": lambda d: 3 * hidden * (d + hidden),
        "min_gru": lambda d: 2 * hidden * d,
    }[cell]
    expected = steps * sum(map(per_step, reads)) + hidden * classes
    assert macs(model, inputs, steps) == expected


def test_macs_fall_with_the_units_that_are_removed_and_leave_the_module_as_it_was():
    large, small = recurrent_classifier(6, 8, 3), recurrent_classifier(6, 2, 3)
    assert macs(large, 6, 4) - macs(small, 6, 4) == 4 * 4 * (8 * 14 - 2 * 8) + 6 * 3
    assert not any(p.grad is not None for p in large.parameters())


def test_a_model_that_reads_fewer_inputs_multiplies_fewer():
    model = recurrent_classifier(6, 3, 2)
    model.input_mask = BottleneckMask(6)
    with torch.no_grad():
        model.input_mask.log_var[[0, 5]] = 9.0
    compact = compact_masked(model)
    assert macs(compact, 6, 5) == 5 * 4 * 3 * (4 + 3) + 3 * 2


def settings_of_every_method():
    """(method, settings, cell): all methods, and what changes the arithmetic of their compact modules."""
    maps = [{"map": kind, "compact_to": form} for kind in ("tt", "tr", "bt", "ht", "low_rank") for form in FORMS]
    more = {"vib_lstm": [{"finalise": "vectors"}, *maps], "magnitude": [{"structure": "element", "keep": 0.05}]}
    for name, file in find_methods([]).items():
        if "sequence" not in load(file).kinds:
            continue  # tests/test_feedforward_engine.py
        for setting_names in [{}, *more.get(name, [])]:
            for cell in GATES if name == "fdht_lstm" or "map" in setting_names else CELLS:
                yield pytest.param(
                    name, setting_names, cell, id="-".join([name, *map(str, setting_names.values()), cell])
                )


FORMS = ("cores", "dense")


@pytest.mark.parametrize(("method", "setting_names", "cell"), list(settings_of_every_method()))
@pytest.mark.parametrize(("inputs", "hidden", "steps"), [(24, 16, 5), (60, 16, 33)])
def test_the_closed_form_is_what_torch_counts_for_every_method(method, setting_names, cell, inputs, hidden, steps):
    made = case_of(method).method_class
    if "hidden" in made.Settings.model_fields:
        setting_names = {"hidden": hidden, "cell": cell, **setting_names}
    task = TaskInfo("small", "sequence", inputs, steps, 3, False, 100)
    model = construct(made(made.Settings(**setting_names)), task).eval()
    assert closed_form_macs(model, steps) == macs(model, inputs, steps) > 0


@pytest.mark.parametrize("pool", [True, False])
def test_the_closed_form_knows_fronts_and_two_layer_heads(pool):
    model = recurrent_classifier(6, 5, 3, front=TemporalSegments(6, 2, pool=pool), head="two_layers")
    assert closed_form_macs(model, 9) == macs(model, 6, 9) == (2 if pool else 9) * 20 * 11 + 5 * 5 + 5 * 3


def test_a_class_without_a_formula_has_none():
    assert closed_form_macs(nn.Sequential(nn.Linear(3, 2)), 4) is None


def test_two_counts_that_differ_are_told_and_both_are_in_the_record(tmp_path, caplog):
    class Wrong(RecurrentClassifier):
        def forward(self, x, length=None):
            return super().forward(x, length) + super().forward(x, length)

    base = recurrent_classifier(6, 5, 3)
    model = Wrong(base.layers, base.head)
    found = cost(
        model, base, DenseReference(6, 5, 1, 3), tmp_path / "m", 6, 4, store(model, tmp_path / "m", None, None)
    )
    assert found.macs == 2 * found.macs_closed_form
    assert f"torch counted {found.macs:,}, the formula gives {found.macs_closed_form:,}" in caplog.text


# ---------------------------------------------------------------------- bytes, saving, loading


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bytes_are_those_of_the_file_and_hold_every_number(tmp_path, cell):
    model, base = recurrent_classifier(6, 5, 3, cell).eval(), recurrent_classifier(6, 9, 3, cell)
    path = tmp_path / "model.safetensors"
    stored = store(model, path, lambda m: 0.5, 0.75)
    found = cost(model, base, DenseReference(6, 9, 1, 3, cell), path, 6, 4, stored)
    assert found.bytes == path.stat().st_size == found.stored_as["float32"].bytes
    data = 4 * count(model).model_total
    assert data < found.bytes < data + 2000  # float32 and a header
    assert found.macs == found.macs_closed_form == macs(model, 6, 4)
    assert found.dense_macs == macs(base, 6, 4) > found.macs
    assert 0 < found.peak_activation_bytes < found.dense_peak_activation_bytes
    assert [stored.test for stored in found.stored_as.values()] == [0.75, 0.5, 0.5]
    for side in ("", "dense_"):
        medians, quartiles = getattr(found, f"{side}latency_ms"), getattr(found, f"{side}latency_quartiles_ms")
        assert set(medians) == set(quartiles) == {"1", "10"}
        assert all(0 < quartiles[b][0] <= medians[b] <= quartiles[b][1] for b in medians)
    for batch, runtime in found.fastest_dense_runtime.items():
        assert runtime in ("nn.LSTM" if cell == "lstm" else "nn.GRU", "oneDNN off", "squeezebench")
        assert found.fastest_dense_latency_ms[batch] <= found.dense_latency_ms[batch]
        assert found.fastest_dense_latency_ms[batch] <= found.same_runtime_dense_latency_ms[batch]


def test_both_sides_of_a_latency_ratio_can_be_of_one_runtime(tmp_path, monkeypatch):
    """The dense network as the engine runs it, and not torch.nn's, is what the compact one is held against."""
    runtimes = {"compact": 1.0, "nn.LSTM": 0.25, "oneDNN off": 0.5, "squeezebench": 4.0}
    told = {name: {"1": Timing(ms, ms, ms), "10": Timing(ms, ms, ms)} for name, ms in runtimes.items()}
    monkeypatch.setitem(cost.__globals__, "timings", lambda *_, **__: told)
    model, base = recurrent_classifier(6, 5, 3).eval(), recurrent_classifier(6, 9, 3)
    path = tmp_path / "model.safetensors"
    found = cost(model, base, DenseReference(6, 9, 1, 3), path, 6, 4, store(model, path, None, None))
    assert (found.latency_ms["1"], found.same_runtime_dense_latency_ms["1"], found.dense_latency_ms["1"]) == (
        1,
        4,
        0.25,
    )


# ---------------------------------------------------------------------- precisions


def test_float16_halves_the_numbers_and_int8_quarters_the_matrices():
    model = recurrent_classifier(40, 30, 3).eval()
    sizes = {precision: len(serialise(model, precision)) for precision in PRECISIONS}
    counts = count(model)
    assert sizes["float32"] - sizes["float16"] == pytest.approx(2 * counts.model_total, abs=100)  # headers differ
    matrices = counts.input_to_hidden + counts.hidden_to_hidden + 3 * 30
    scales = 4 * (120 + 120 + 3)
    assert sizes["float32"] - sizes["int8"] == pytest.approx(3 * matrices - scales, abs=300)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(0, 2**31), st.sampled_from([1e-3, 1.0, 1e3]))
def test_rounding_to_int8_is_within_half_a_step(shape, seed, size):
    weight = size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    integers, scale = quantised(weight)
    assert integers.dtype == torch.int8 and integers.shape == weight.shape
    rows = weight.reshape(len(scale), -1)
    gap = (integers.reshape(len(scale), -1) * scale[:, None] - rows).abs()
    assert (gap <= 0.5001 * rows.abs().amax(1, keepdim=True) / 127).all()
    assert len(scale) in (1, shape[0])


def test_a_row_of_zeros_stays_zero_in_int8():
    weight = torch.randn(3, 20)
    weight[1] = 0.0
    integers, scale = quantised(weight)
    assert (integers[1] == 0).all() and scale[1] == 0 and (integers[0] != 0).any()


# ---------------------------------------------------------------------- memory of activations


def test_peak_memory_is_what_the_forward_pass_holds_at_once():
    class Chain(nn.Module):
        def forward(self, x):
            a = x + 1.0  # n
            b = a.repeat(1, 3, 1)  # n + 3n
            del a
            c = b.mul_(2.0)[:, :1]  # in place, and a view: 3n
            return torch.cat([c] * 10, 1)  # 3n + 2n

    n = 4 * 5 * 6  # bytes of x; c is a fifth of it
    assert peak_activation_bytes(Chain(), 6, 5) == 5 * n


def test_peak_memory_is_the_same_every_time_and_falls_with_the_units():
    large, small = recurrent_classifier(6, 32, 3), recurrent_classifier(6, 4, 3)
    steps, h, word = 5, 32, 4
    products = 2 * steps * 4 * h * word + 4 * h * word  # x W^T, the same with the biases, and the biases' sum
    assert peak_activation_bytes(large, 6, steps) == products == peak_activation_bytes(large, 6, steps)
    assert peak_activation_bytes(small, 6, steps) == products // 8
    assert peak_activation_bytes(large, 6, steps, batch=3) > 2 * products


def test_nothing_is_kept_beside_the_contraction_of_a_tensor_map():
    tensor_train = load(find_methods()["tt_lstm"])
    model = tensor_train(tensor_train.Settings(rank=4, hidden=64)).build(TaskInfo("t", "sequence", 8, 8, 10, False, 9))
    assert peak_activation_bytes(model, 8, 8) == 17_920  # the sum of the biases (1,024) is made after it


def test_weights_and_input_are_not_activations():
    assert peak_activation_bytes(nn.Sequential(nn.Flatten(), nn.Linear(600, 2)), 60, 10) == 2 * 4


def variants():
    masked = recurrent_classifier(6, 5, 3, front=TemporalSegments(6, 2))
    masked.input_mask = BottleneckMask(6)
    masked.layers[0].gate_masks.update({gate: BottleneckMask(5) for gate in "ifo"})
    with torch.no_grad():
        masked.input_mask.log_var[2] = 9.0
    return {
        "dense": recurrent_classifier(6, 5, 3),
        "gru, two layers": recurrent_classifier(6, 5, 3, "gru", 2),
        "frames normalised": recurrent_classifier(6, 5, 3, front=TemporalSegments(6, 2, pool=False)),
        "vectors and selected inputs": compact_masked(masked, keep_factors=True),
        "sparse": sparse_model(10),
    }


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", variants())
def test_a_saved_module_comes_back_complete_and_as_near_as_its_precision_allows(tmp_path, kind, precision):
    model = variants()[kind].eval()
    save_model(tmp_path / "m", model)
    if precision != "float32":
        (tmp_path / "m").write_bytes(serialise(model, precision))
    again = load_model(tmp_path / "m", RecurrentClassifier.from_spec)
    state, read = model.state_dict(), deserialise((tmp_path / "m").read_bytes())
    assert {k: (v.shape, v.dtype) for k, v in read.items()} == {k: (v.shape, v.dtype) for k, v in state.items()}
    x = torch.randn(4, 7, 5 if kind == "sparse" else 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gap = (again(x) - model(x)).abs().max()
    assert gap == 0 if precision == "float32" else 0 < gap < {"float16": 5e-3, "int8": 0.1}[precision]
    assert count(again) == count(model) and not again.training
    assert all(p.dtype == torch.float32 for p in again.parameters())
    indices = {k: v for k, v in state.items() if not v.is_floating_point()}
    assert all(torch.equal(again.state_dict()[k], v) for k, v in indices.items())


class Evil:
    """Would run when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_garbage_is_an_error_and_nothing_of_it_runs(tmp_path):
    good = tmp_path / "good"
    save_model(good, recurrent_classifier(3, 2, 2))
    content = good.read_bytes()
    garbage = {
        "pickle": pickle.dumps(Evil()),
        "empty": b"",
        "zeros": bytes(100),
        "cut": content[:-5],
        "long header": (2**40).to_bytes(8, "little") + content[8:],
    }
    for name, data in garbage.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Exception) as caught:  # whatever the reader calls it
            load_model(tmp_path / name, RecurrentClassifier.from_spec)
        assert not isinstance(caught.value, pytest.fail.Exception), name


def test_weights_that_do_not_fit_the_spec_are_refused(tmp_path):
    small, large = recurrent_classifier(3, 2, 2), recurrent_classifier(3, 4, 2)
    save_model(tmp_path / "m", large)
    save_file(load_file(tmp_path / "m"), tmp_path / "lies", metadata={"spec": json.dumps(small.spec())})
    with pytest.raises(ValueError, match="the file"):
        load_model(tmp_path / "lies", RecurrentClassifier.from_spec)


def test_a_full_disk_leaves_no_half_model(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_model(tmp_path / "m", recurrent_classifier(3, 2, 2))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- latency


def test_latency_is_measured_with_one_thread_and_gives_the_threads_back():
    seen = set()

    class Watch(nn.Module):
        def forward(self, x):
            seen.add((torch.get_num_threads(), x.shape[0]))
            return x

    torch.set_num_threads(2)
    found = timings({"a": forward_of(Watch()), "b": forward_of(nn.Identity())}, 3, 4, batches=(1, 5), seconds=0.01)
    assert torch.get_num_threads() == 2
    assert seen == {(1, 1), (1, 5)}
    assert all(set(times) == {"1", "5"} for times in found.values())


def test_a_slower_module_is_seen_to_be_slower():
    class Slow(nn.Module):
        def forward(self, x):
            for _ in range(300):
                x = x + 1
            return x

    found = timings({"slow": forward_of(Slow()), "fast": forward_of(nn.Identity())}, 3, 4, batches=(1,), seconds=0.02)
    assert found["slow"]["1"].median > 5 * found["fast"]["1"].median


def test_the_dense_reference_computes_what_our_dense_module_does():
    ours, torchs = recurrent_classifier(6, 5, 3).eval(), DenseReference(6, 5, 1, 3).eval()
    layer = ours.layers[0]
    assert isinstance(layer.input_map, DenseMap)
    with torch.no_grad():
        torchs.recurrence.weight_ih_l0.copy_(layer.input_map.weight)
        torchs.recurrence.weight_hh_l0.copy_(layer.hidden_map.weight)
        torchs.recurrence.bias_ih_l0.copy_(layer.bias_ih)
        torchs.recurrence.bias_hh_l0.copy_(layer.bias_hh)
        torchs.head.load_state_dict(ours.head.state_dict())
        x = torch.randn(4, 7, 6, generator=torch.Generator().manual_seed(0))
        assert torch.allclose(ours(x), torchs(x), atol=1e-6)
