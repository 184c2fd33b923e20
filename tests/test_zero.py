"""The formulas of ZeRO against the paper's Table 1, ledgers, brute force, and what calculators answer."""

import doctest
import math
import subprocess
import sys
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.transformer import activation_bytes, find_shape
from labkit.zero import (
    ASSUMPTIONS,
    BYTES_PER_PARAM,
    GLOO_PASSES,
    MIXED_PRECISION_BYTES,
    NAIVE_STAGE_1,
    PLACEMENTS,
    Fsdp,
    Plan,
    QuantityError,
    answers,
    ask,
    checkpoint_bytes,
    comm_elements,
    fused_buffer_bytes,
    heaviest_rank,
    hpz_bytes,
    hybrid,
    infinity_bandwidth,
    infinity_efficiency,
    infinity_intensity,
    largest_model,
    ledger_bytes,
    message_elements,
    offload,
    padded_params,
    paper_activation_elements,
    plans_by_stage,
    qgz_cross_node,
    ring_bytes,
    ring_elements,
    smallest_stage,
    state_bytes,
    state_parts,
    step_collectives,
    tensor_ledger,
    zeropp_traffic,
)

MODULES = (
    "assumptions",
    "communication",
    "fsdp",
    "ledger",
    "offload",
    "planner",
    "residual",
    "ring",
    "states",
    "virtual",
)

# arXiv 1910.02054, Table 1, as printed: GB per device for stages 1, 2, 3.
TABLE_1 = {
    7.5e9: {
        1: "120 120 120",
        4: "52.5 41.3 30",
        16: "35.6 21.6 7.5",
        64: "31.4 16.6 1.88",
        256: "30.4 15.4 0.47",
        1024: "30.1 15.1 0.12",
    },
    128e9: {
        1: "2048 2048 2048",
        4: "896 704 512",
        16: "608 368 128",
        64: "536 284 32",
        256: "518 263 8",
        1024: "513 257 2",
    },
    1e12: {
        1: "16000 16000 16000",
        4: "7000 5500 4000",
        16: "4750 2875 1000",
        64: "4187 2218 250",
        256: "4046 2054 62.5",
        1024: "4011 2013 15.6",
    },
}
CELLS = [
    (params, world_size, stage, cell)
    for params, rows in TABLE_1.items()
    for world_size, row in rows.items()
    for stage, cell in enumerate(row.split(), start=1)
]

params_strategy = st.integers(1, 10**13)
worlds = st.integers(1, 4096)
stages = st.sampled_from((0, 1, 2, 3))
triples = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 16))


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings(module):
    result = doctest.testmod(import_module(f"labkit.zero.{module}"))
    assert (result.failed, result.attempted > 0) == (0, True)


def as_printed(gigabytes: Fraction, cell: str, cut_off: bool) -> str:
    """With as many decimals as the paper's cell: rounded half up, or cut off."""
    decimals = len(cell.partition(".")[2])
    scaled = gigabytes * 10**decimals + (0 if cut_off else Fraction(1, 2))
    return f"{math.floor(scaled) / 10**decimals:.{decimals}f}"


def test_table_1_is_complete():
    assert len(CELLS) == 54


@pytest.mark.parametrize(("params", "world_size", "stage", "cell"), CELLS)
def test_the_papers_table_1(params, world_size, stage, cell):
    """The 7.5B columns are rounded, the other two are cut off: rounding everywhere disagrees with the paper."""
    gigabytes = Fraction(state_bytes(params, world_size, stage), 10**9)
    assert as_printed(gigabytes, cell, cut_off=params > 7.5e9) == cell


def test_the_papers_table_2():
    limits = [largest_model(32e9, 64, stage) for stage in (0, 1, 2, 3)]
    assert [f"{limit / 1e9:.2f}" for limit in limits] == ["2.00", "7.64", "14.42", "128.00"]
    for stage, limit in enumerate(limits):
        assert state_bytes(limit, 64, stage) <= 32e9 < state_bytes(limit + 1, 64, stage)


@given(params_strategy, worlds, stages, triples)
def test_a_shard_and_the_rest_make_the_whole(params, world_size, stage, triple):
    """What N ranks hold together: every split part once, every whole part N times. Exactly."""
    p, g, o = triple
    parts = state_parts(params, world_size, stage, triple)
    times = [1 if stage >= first else world_size for first in (3, 2, 1)]
    for part, size, copies in zip(parts, (p, g, o), times, strict=True):
        assert part * world_size == size * params * copies
    assert state_bytes(params, world_size, stage, triple) == sum(parts)
    assert isinstance(parts.total, int) == (Fraction(parts.total).denominator == 1)


@given(params_strategy, worlds, triples)
def test_more_zero_never_needs_more(params, world_size, triple):
    needed = [state_bytes(params, world_size, stage, triple) for stage in (0, 1, 2, 3)]
    assert needed == sorted(needed, reverse=True)
    if world_size == 1:
        assert len(set(needed)) == 1


def test_bytes_of_named_trainings():
    totals = {name: sum(triple) for name, triple in BYTES_PER_PARAM.items()}
    assert totals["mixed-precision Adam"] == totals["fp32 Adam"] == sum(MIXED_PRECISION_BYTES) == 16
    assert totals["mixed-precision Adam, fp32 gradients"] == 18


@given(st.integers(1, 10**6), st.integers(1, 100))
def test_padding_is_the_next_multiple(params, world_size):
    padded = padded_params(params, world_size)
    assert padded % world_size == 0
    assert 0 <= padded - params < world_size


@given(params_strategy, worlds, stages)
def test_communication_is_exact_and_does_not_grow(params, world_size, stage):
    sent = comm_elements(params, world_size, stage)
    passes = 3 if stage == 3 else 2
    assert sent * world_size == passes * params * (world_size - 1)
    assert sent < passes * params
    assert comm_elements(params, 1, stage) == 0


def test_micro_batches():
    at = {stage: [comm_elements(1000, 4, stage, K) / 750 for K in (1, 4)] for stage in (0, 1, 2, 3)}
    assert at == {0: [2, 2], 1: [2, 2], 2: [2, 5], 3: [3, 12]}
    for K in (1, 2, 4, 7):
        switches = [(True, True), (False, True), (False, False)]
        passes = [sum(call.times for call in Fsdp(True, *switch).collectives(K)) for switch in switches]
        assert passes == [3 * K, 2 * K + 1, K + 2]
    assert Fsdp().collectives(5) == step_collectives(3, 5)
    keep = Fsdp(reshard_after_forward=False)
    assert ring_elements(1000, 4, keep.collectives()) == comm_elements(1000, 4, 2)
    assert keep.kept_bytes(1000) == 2000
    assert Fsdp().kept_bytes(1000) == 0
    assert Fsdp(True, False, False).kept_bytes(1000, 2, 4) == 6000


def test_variants_of_communication():
    assert ring_elements(1000, 4, NAIVE_STAGE_1) == 2250
    assert ring_elements(1000, 2, step_collectives(3), GLOO_PASSES) == 2000  # facts: 2.002 on the wire, not 1.5
    assert ring_elements(1000, 4, Fsdp(False).collectives(), GLOO_PASSES) / 1000 == Fraction(9, 4)
    assert ring_bytes(1000, 10**6, step_collectives(3)) / 1000 == pytest.approx(6, rel=1e-5)
    assert ring_bytes(1000, 10**6, step_collectives(3), grad_bytes=4) / 1000 == pytest.approx(8, rel=1e-5)


@pytest.mark.parametrize(
    ("source", "stage", "gigabytes"),
    [
        ("paper", 0, "120.00"),
        ("paper", 1, "31.41"),
        ("paper", 2, "16.64"),
        ("paper", 3, "1.88"),
        ("deepspeed", 2, "17.11"),
        ("deepspeed", 3, "2.93"),
        ("eleutherai", 0, "135.00"),
        ("eleutherai", 1, "46.41"),
        ("eleutherai", 2, "16.88"),
        ("eleutherai", 3, "2.11"),
        ("llm-analysis", 0, "135.00"),
        ("llm-analysis", 1, "46.41"),
        ("llm-analysis", 3, "2.11"),
        ("ultra-scale", 0, "120.00"),
        ("ultra-scale", 3, "1.88"),
        ("megatron", 0, "135.00"),
        ("megatron", 1, "46.41"),
        ("accelerate", 0, "120.00"),
        ("accelerate-fp16", 0, "60.00"),
        ("fsdp2", 3, "1.88"),
    ],
)
def test_what_others_answer_for_7_5b_on_64(source, stage, gigabytes):
    answer = ask(source, 7.5e9, 64, stage, largest_layer_params=50257 * 4096)
    assert answer.offered
    assert f"{answer.state_bytes / 10**9:.2f}" == gigabytes


def test_deepspeed_prints_gib():
    """The figures that its estimator prints as GB: 15.93 and 2.73."""
    row = ASSUMPTIONS["deepspeed"]
    assert row.prints_gib_as_gb
    printed = [ask("deepspeed", 7.5e9, 64, s, largest_layer_params=50257 * 4096).state_bytes / 2**30 for s in (2, 3)]
    assert [f"{value:.2f}" for value in printed] == ["15.93", "2.73"]
    assert ask("deepspeed", 100, 1, 2).state_bytes == 2000  # 20 bytes at N = 1
    assert not ask("deepspeed", 100, 1, 1).offered


def test_the_playbooks_table():
    sizes = {1e9: (16, 20), 7e9: (112, 140), 70e9: (1120, 1400), 405e9: (6480, 8100)}
    for params, (sixteen, twenty) in sizes.items():
        assert ask("ultra-scale", params, 1, 0).state_bytes == sixteen * 10**9
        assert ask("ultra-scale-fp32-grads", params, 1, 0).state_bytes == twenty * 10**9


def test_every_source_says_why_and_answers_every_stage():
    table = answers(10**6, 8)
    assert set(table) == set(ASSUMPTIONS)
    for name, row in ASSUMPTIONS.items():
        assert row.name == name
        assert row.why
        assert row.source
        assert any(answer.offered for answer in table[name].values())
    assert ASSUMPTIONS["eleutherai"].buffer_bytes[3] == 3 * 10**9


@given(st.integers(1, 10**6), st.integers(1, 10**8), st.integers(1, 40), triples, st.integers(1, 4))
def test_the_plan_is_the_smallest_that_fits(params, budget, most, triple, multiple):
    """Against trying every stage and every world size."""
    fits = {
        stage: [N for N in range(multiple, most + 1, multiple) if state_bytes(params, N, stage, triple) <= budget]
        for stage in (0, 1, 2, 3)
    }
    plans = plans_by_stage(params, budget, most, triple, multiple_of=multiple)
    for stage, sizes in fits.items():
        assert (plans[stage].world_size if plans[stage] else None) == (sizes[0] if sizes else None)
    best = smallest_stage(params, budget, most, triple, multiple_of=multiple)
    first = next(((stage, sizes[0]) for stage, sizes in fits.items() if sizes), None)
    assert (best[:2] if best else None) == first


def test_the_plans_edges():
    """Tight pairs: exactly enough, and a byte too little."""
    assert smallest_stage(1000, 16000, 64) == Plan(0, 1, 16000, 0)
    assert smallest_stage(1000, 15999, 64).stage == 1
    assert smallest_stage(1000, 250, 64) == Plan(3, 64, 250, 3 * Fraction(1000 * 63, 64))
    assert smallest_stage(1000, 249, 64) is None
    assert smallest_stage(1000, 2000, 10**9).stage == 3  # stage 2 never gets below its 2Φ
    assert smallest_stage(1000, 16100, 64, reserved_bytes=101).stage == 1
    assert plans_by_stage(1000, 8500, 64, multiple_of=8)[1].world_size == 8
    with_sgd = smallest_stage(1000, 8000, 8, (4, 4, 0))
    assert with_sgd == Plan(0, 1, 8000, 0)


def test_residual_states():
    """The paper's own figures: §3.2 against §6.1, and footnote 3 as a lower bound."""
    whole = checkpoint_bytes(1024, 32, 8192, 125)
    assert f"{whole / 1e9:.1f}" == "67.1"
    assert f"{checkpoint_bytes(1024, 32, 8192, 125, 16, 'partitioned') / 1e9:.1f}" == "4.2"
    assert checkpoint_bytes(1024, 32, 8192, 125, where="cpu") == 0
    xl = find_shape("gpt2-xl")
    footnote = 2 * paper_activation_elements(1024, 32, xl.hidden, xl.layers)
    formula = activation_bytes(1024, 32, xl.hidden, xl.heads, xl.layers)
    without_matrices = activation_bytes(1024, 32, xl.hidden, xl.heads, xl.layers, recompute="selective")
    assert [f"{num_bytes / 1e9:.1f}" for num_bytes in (footnote, formula, without_matrices)] == [
        "60.4",
        "286.9",
        "85.6",
    ]
    assert fused_buffer_bytes(3e9) == 12 * 10**9


def test_offload():
    on_gpu = [offload(1000, placement=name).gpu_bytes for name in PLACEMENTS]
    assert on_gpu == [16000, 14000, 4000, 2000]
    for name in PLACEMENTS:
        for N in (1, 4):
            split = offload(1000, N, name)
            assert split.gpu_bytes + split.cpu_bytes == state_bytes(1000, N, 2)
            assert split.link_bytes == (0 if name == "gpu" else 4000 // N)


def test_infinity():
    assert infinity_intensity("parameters and gradients", 1024, 2) == 2048
    assert infinity_intensity("activations", 1024, 2, hidden=8192) == 24 * 8192
    for wanted in (0.5, 0.9):
        bandwidth = infinity_bandwidth(2048, 70e12, wanted)
        assert infinity_efficiency(2048, bandwidth, 70e12) == pytest.approx(wanted)
    with pytest.raises(QuantityError, match="efficiency must lie between 0 and 1"):
        infinity_bandwidth(2048, 70e12, 1.0)
    with pytest.raises(QuantityError, match="needs hidden"):
        infinity_intensity("activations", 1024, 2)


def test_zero_plus_plus():
    assert zeropp_traffic().total * 4 == zeropp_traffic(False, False, False).total == 3
    for N, G, times in ((1024, 16, 9), (64, 8, 2)):
        stage3 = state_bytes(10**6, N, 3)
        assert (stage3 + hpz_bytes(10**6, G)) / stage3 == times
    assert qgz_cross_node(8, hops=1) == 8 * qgz_cross_node(8, hops=2) == 2


def test_hybrid_sharding():
    assert hybrid(1000, 8, 8) == (state_bytes(1000, 8, 3), comm_elements(1000, 8, 3), 0)
    assert hybrid(1000, 8, 1) == (16000, 0, comm_elements(1000, 8, 0))
    with pytest.raises(QuantityError, match="world_size / group_size must be a whole number"):
        hybrid(1000, 8, 3)


shape_tables = st.dictionaries(
    st.text("abc", min_size=1), st.lists(st.integers(1, 12), min_size=1, max_size=3).map(tuple), min_size=1, max_size=5
)


@given(shape_tables, st.integers(1, 9))
def test_the_ledger_gives_every_element_to_somebody(shapes, world_size):
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    for division in ("rows", "owners"):
        by_rank = [tensor_ledger(shapes, world_size, rank, division) for rank in range(world_size)]
        for number, name in enumerate(shapes):
            assert sum(rows[number].optimizer for rows in by_rank) == sizes[name]
    for rank in range(world_size):  # an independent cut: NumPy slices of ceil(rows / N)
        rows = tensor_ledger(shapes, world_size, rank, "rows")
        for row, shape in zip(rows, shapes.values(), strict=True):
            step = math.ceil(shape[0] / world_size)
            assert row.optimizer == np.zeros(shape)[rank * step : (rank + 1) * step].size
    whole = tensor_ledger(shapes, world_size, 0, "whole")
    assert ledger_bytes(whole, (2, 2, 12)) == state_parts(sum(sizes.values()), world_size, 0)
    assert message_elements(shapes, world_size, "rows") >= message_elements(shapes, world_size, "whole")
    heaviest = heaviest_rank(shapes, world_size, "rows", (4, 4, 8))
    assert heaviest == 0  # torch.chunk gives the first ranks the long parts


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: state_bytes(100, 2, 5), "stage must be 0, 1, 2 or 3, got 5."),
        (lambda: state_bytes(100, 2, True), "stage must be 0, 1, 2 or 3, got True."),
        (lambda: comm_elements(100, 2, -1), "stage must be 0, 1, 2 or 3, got -1."),
        (lambda: state_bytes(100, 0, 1), "world_size must be a whole number of at least 1, got 0."),
        (lambda: state_bytes(100, 2.5, 1), "world_size must be a whole number of at least 1, got 2.5."),
        (lambda: state_bytes(7.5, 2, 1), "num_params must be a whole number of at least 1, got 7.5."),
        (lambda: comm_elements(-7, 2, 1), "num_params must be a whole number of at least 1, got -7."),
        (lambda: comm_elements(7, 2, 1, 0), "micro_batches must be a whole number of at least 1, got 0."),
        (lambda: state_bytes(7, 2, 1, (2, 2)), "bytes_per_param must be three numbers, for parameters, gradients"),
        (lambda: state_bytes(7, 2, 1, (2, -2, 2)), "bytes_per_param must be a number of at least 0, got -2."),
        (lambda: ask("papers", 7, 2, 1), "There is no assumption called 'papers'; did you mean paper?"),
        (lambda: ask("x", 7, 2, 1), "There is no assumption called 'x'; there are paper, deepspeed"),
        (lambda: offload(7, 1, "disk"), "placement must be one of gpu, gradients on cpu"),
        (lambda: checkpoint_bytes(1, 1, 1, 1, where="disk"), "where must be replicated, partitioned or cpu"),
        (lambda: tensor_ledger({}, 2, 2, "rows"), "rank must be between 0 and 1, got 2."),
        (lambda: tensor_ledger({}, 2, 1, "columns"), "division must be one of whole, owners, rows"),
        (lambda: qgz_cross_node(8, hops=3), "hops must be 1 or 2, got 3."),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(QuantityError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_formulas_import_no_torch():
    code = "import sys, labkit.zero, labkit.zero.observed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
