"""Tensor-decomposition methods: the published counts, their composition with masks, decomposed starts, clear errors."""

import pytest
import torch
from refusals import refusal_of

from squeezebench.engine.measurement.counts import count
from squeezebench.method import TaskInfo, dense_classifier
from squeezebench.tools.check_method import HIDDEN, case_of
from squeezebench.tools.counting import construct, count_method

UCF11 = {"inputs": 57_600, "hidden": 256, "classes": 11}
SMALL = TaskInfo("small", "sequence", 24, 5, 3, False, 30)


@pytest.mark.parametrize(
    ("method", "settings", "published"),
    [
        ("tt_lstm", {"in_modes": "8x20x20x18", "hidden_modes": "4x4x4x4", "rank": 4}, 3_360),
        ("bt_lstm", {"in_modes": "8x20x20x18", "hidden_modes": "4x4x4x4", "rank": 4, "blocks": 2}, 3_392),
        ("tr_lstm", {"in_modes": "4x2x5x8x6x5x3x2", "hidden_modes": "4x4x2x4x2", "rank": 5, "ring_rank": 10}, 1_725),
        ("ht_lstm", {"in_modes": "8x10x10x9x8", "hidden_modes": "4x4x2x4x2", "rank": 4, "inner_rank": 5}, 1_245),
    ],
)
def test_published_counts(method, settings, published):
    """UCF11 end to end: input-to-hidden as printed by each paper's ratio; U dense, two biases."""
    found = count_method(method, settings=settings, **UCF11)
    assert found["input_to_hidden"] == published
    assert found["lstm_total"] == published + 4 * 256 * 256 + 8 * 256
    assert found["agree"]


@pytest.mark.parametrize("ring_rank", [1, 2])
def test_a_ring_whose_closing_bond_is_given_meets_a_ratio(ring_rank):
    found = count_method("tr_lstm", 64, 16, 3, {"ring_rank": ring_rank, "ratio": 4})
    assert found["agree"] and 4 * 16 * (64 + 16 + 2) / found["lstm_total"] >= 4


def test_3387_is_not_a_block_term_count():
    """The figure that later papers quote for BT-LSTM: no N and R of the published modes gives it."""
    modes = {"in_modes": "8x20x20x18", "hidden_modes": "4x4x4x4"}
    sizes = (8 * 16, 20 * 4, 20 * 4, 18 * 4)
    reachable = {n * (sum(sizes) * r + r**4) for n in range(1, 40) for r in range(1, 12)}
    assert 3_387 not in reachable and 3_392 in reachable
    assert count_method("bt_lstm", settings=modes | {"rank": 2, "blocks": 1}, **UCF11)["input_to_hidden"] in reachable


@pytest.mark.parametrize("kind", ["tt", "tr", "bt", "ht", "low_rank"])
@pytest.mark.parametrize("compact_to", ["cores", "dense", "smaller"])
def test_masks_compose_with_every_map(kind, compact_to):
    """`vib + tt` is a settings choice; its compact module equals the trained one and `smaller` is the smaller."""
    case = case_of("vib_lstm", settings={"map": kind, "rank": 2, "compact_to": compact_to, "start": "scratch"})
    torch.manual_seed(0)
    method = case.new()
    model = method.build(case.info).eval()
    with torch.no_grad():
        model.input_mask.log_var[:2] = 5.0  # two inputs and three units go
        model.layers[0].gate_masks["o"].log_var[:3] = 5.0
        for gate in "ifg":  # what no cell absorbs is made neutral, so that the outputs can be compared
            model.layers[0].gate_masks[gate].mu.fill_(1.0)
        compact = method.compact(method.end_stage(model, method.stages()[0])).eval()
        x, length = case.batch()
        assert torch.allclose(compact(x, length), model(x, length), atol=1e-5)
    assert compact.hidden == [HIDDEN - 3] and compact.inputs == case.info.inputs - 2
    if compact_to == "smaller":
        forms = {}
        for form in ("cores", "dense"):
            other = case_of("vib_lstm", settings={"map": kind, "rank": 2, "compact_to": form, "start": "scratch"}).new()
            forms[form] = count(other.end_stage(model, other.stages()[0])).lstm_total
        assert count(compact).lstm_total == min(forms.values())


@pytest.mark.parametrize("method", ["tt_lstm", "bt_lstm", "ht_lstm"])  # a ring: test_maps, its bonds need own ranks
def test_decomposed_start_is_the_dense_network_at_full_rank(method):
    """`start: dense` decomposes the trained matrix; with ranks that lose nothing the outputs are the dense one's."""
    settings = {"start": "dense", "compact_to": "cores", "rank": 64, "hidden": 8}
    settings |= {"in_modes": "4x6", "hidden_modes": "2x4"}
    if method == "bt_lstm":
        settings |= {"blocks": 1}
    if method == "ht_lstm":
        settings |= {"inner_rank": 64}
    made = case_of(method).method_class
    lowered = _lowered(made, settings)
    torch.manual_seed(0)
    dense = dense_classifier(SMALL, lowered.settings)
    x = torch.randn(6, 5, 24)
    expected = dense(x)
    adopted = lowered.load_dense(lowered.build(SMALL), dense)
    assert torch.allclose(adopted(x), expected, atol=1e-4)


def _lowered(method, settings):
    """The method at the highest rank that its modes allow."""
    for rank in range(settings["rank"], 0, -1):
        given = settings | {"rank": rank} | ({"inner_rank": rank} if "inner_rank" in settings else {})
        made = method(method.Settings(**given))
        try:
            made.build(SMALL)
        except ValueError:
            continue
        return made
    raise AssertionError("no rank fits")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("method", ["tt_lstm", "tr_lstm", "bt_lstm", "ht_lstm", "fdht_lstm", "low_rank"])
def test_counts_agree_for_both_cells(method, cell):
    made = case_of(method, settings={"cell": cell}).new()
    formula, built = made.closed_form(SMALL), count(construct(made, SMALL)).model_dump()
    assert {k: built[k] for k in formula} == formula


def test_budget_takes_the_largest_rank_that_fits():
    modes = {"in_modes": "8x20x20x18", "hidden_modes": "4x4x4x4"}
    fits = count_method("tt_lstm", settings=modes | {"budget": 3_400}, **UCF11)["input_to_hidden"]
    assert fits == 3_360  # rank 4; rank 5 would need more
    assert count_method("tt_lstm", settings=modes | {"rank": 5}, **UCF11)["input_to_hidden"] > 3_400


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        ("tt_lstm", {"in_modes": "8x20x20x17"}, "57600 = 16 * 16 * 15 * 15"),
        ("tt_lstm", {"in_modes": "8x20x20x18", "hidden_modes": "4x4x4x5"}, "multiply to 320, not 256"),
        ("tt_lstm", {"rank": 100_000}, "between 1 and"),
        ("tt_lstm", {"rank": 0}, "greater than 0"),
        ("tt_lstm", {"budget": 10}, "rank 1 already needs"),
        ("tt_lstm", {"in_modes": "abc"}, "in_modes"),
        ("tr_lstm", {"ring_rank": 9_999}, "between 1 and"),
        ("low_rank", {"rank": 5_000_000}, "between 1 and"),
    ],
)
def test_bad_modes_and_ranks_are_one_clear_line(method, settings, says):
    assert says in refusal_of(count_method, method, settings=settings, **UCF11)
