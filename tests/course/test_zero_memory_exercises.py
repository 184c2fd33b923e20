"""Lab 07's checks: their oracles against torch and the paper, labkit's own functions, what a learner reads.

That every known wrong answer is rejected by its name, and every right one accepted, is the kill matrix's work.
"""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import transformer, zero
from labkit.course.exercise import Exercise
from labkit.course.exercises.zero_memory import LAB, zero_play
from labkit.course.exercises.zero_memory.activation_bytes import saved_bytes
from labkit.course.exercises.zero_memory.calculators import SHOWN, all_broken, all_right, find_calculator
from labkit.course.exercises.zero_memory.choose_plan import fitting_plans
from labkit.course.exercises.zero_memory.comm_elements import PASSES
from labkit.course.exercises.zero_memory.failing_input import ORACLES
from labkit.course.exercises.zero_memory.kv_cache_bytes import cache_nbytes
from labkit.course.exercises.zero_memory.smallest_stage import best_plan
from labkit.course.exercises.zero_memory.state_bytes import cluster_share
from labkit.course.exercises.zero_memory.transformer_params import num_params
from labkit.transformer import TransformerShape
from labkit.transformer.measured import measured_layer_bytes, measured_params

OWN = {
    "transformer_params": transformer.transformer_params,
    "state_bytes": zero.state_bytes,
    "comm_elements": zero.comm_elements,
    "zero_step": zero.zero_step,
    "activation_bytes": transformer.activation_bytes,
    "smallest_stage": zero.smallest_stage,
    "kv_cache_bytes": transformer.kv_cache_bytes,
}
NAMES = (*tuple(OWN)[:6], "choose_plan", "kv_cache_bytes", "failing_input")
SEEDS = (0, 1, 2)


def exercise(name: str) -> Exercise:
    return LAB.exercise(name)


# --- the lab as a whole -----------------------------------------------------------------------------------


def test_the_lab_has_the_names_of_the_design() -> None:
    assert tuple(each.name for each in LAB.exercises) == NAMES
    assert LAB.points == 23


@pytest.mark.parametrize("name", OWN)
def test_labkits_own_function_passes(name: str) -> None:
    for seed in SEEDS:
        verdict = exercise(name).judge(OWN[name], seed=seed)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("name", NAMES)
def test_a_stub_is_not_written_yet(name: str) -> None:
    def stub(*args: object, **options: object) -> None:
        raise NotImplementedError(f"write {name}, about {exercise(name).num_lines} lines")

    assert str(exercise(name).judge(stub)).startswith(f"○ {name}: not written yet: write {name}")


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_wrong_and_right_answers(name: str) -> None:
    wanted = 15 if name in ("state_bytes", "comm_elements", "zero_step") else 8
    assert len(exercise(name).wrong_answers) >= wanted
    assert len(exercise(name).right_answers) >= 3
    names = [each.name for each in exercise(name).wrong_answers]
    assert len(set(names)) == len(names)


def test_a_verdict_needs_no_torch() -> None:
    program = """
import sys
from labkit.course import exercise
for name in ("state_bytes", "zero_step", "failing_input"):
    each = exercise("07_zero_memory", name)
    assert each.judge(each.right_answers[0].candidate).passed
    assert not each.judge(each.wrong_answers[0].candidate).passed
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_probes_need_neither_banks_nor_oracles() -> None:
    """An answer is asked for where nothing is judged: what a probe uses must not be what a grader may drop there."""
    program = """
from labkit.course.apart import ask_here
from labkit.course.exercises.zero_memory import LAB
cases = {each.name: each.make_cases(0) for each in LAB.exercises}
for each in LAB.exercises:
    each.wrong_answers.clear()
    each.right_answers.clear()
    each.judge_case = each.cases = None
from labkit.zero import zero_step
for name, candidate in (("zero_step", zero_step), ("failing_input", lambda question, calculator: None)):
    answers = ask_here(candidate, LAB.exercise(name).probe, cases[name])
    assert {answer.outcome for answer in answers} == {"value"}, answers[0].error
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# --- the oracles ------------------------------------------------------------------------------------------

# Table 1 of arXiv 1910.02054: GB per device at P_os, P_os+g, P_os+g+p.
TABLE_1 = {
    7.5e9: {
        1: (120, 120, 120),
        4: (52.5, 41.3, 30),
        16: (35.6, 21.6, 7.5),
        64: (31.4, 16.6, 1.88),
        256: (30.4, 15.4, 0.47),
        1024: (30.1, 15.1, 0.12),
    },
    128e9: {
        1: (2048, 2048, 2048),
        4: (896, 704, 512),
        16: (608, 368, 128),
        64: (536, 284, 32),
        256: (518, 263, 8),
        1024: (513, 257, 2),
    },
    1e12: {
        1: (16000, 16000, 16000),
        4: (7000, 5500, 4000),
        16: (4750, 2875, 1000),
        64: (4187, 2218, 250),
        256: (4046, 2054, 62.5),
        1024: (4011, 2013, 15.6),
    },
}


def test_states_are_those_of_the_papers_table() -> None:
    for params, by_ranks in TABLE_1.items():
        for ranks, cells in by_ranks.items():
            for stage, printed in enumerate(cells, 1):
                gigabytes = float(cluster_share(int(params), ranks, stage)) / 1e9
                step = 1 if printed >= 100 else 0.1 if printed >= 10 else 0.01  # of the last digit printed
                assert abs(gigabytes - printed) < step + 1e-9, (params, ranks, stage)


@given(st.integers(1, 10**6), st.integers(1, 40), st.integers(0, 3))
def test_the_oracles_agree_with_labkits_formulas(params: int, ranks: int, stage: int) -> None:
    assert cluster_share(params, ranks, stage, (2, 4, 6)) == zero.state_bytes(params, ranks, stage, (2, 4, 6))
    sent = len(PASSES[stage]) * params * Fraction(ranks - 1, ranks)
    assert sent == zero.comm_elements(params, ranks, stage)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 4000), st.integers(1, 40), st.integers(0, 200), st.integers(1, 5))
def test_the_best_plan_is_that_of_labkits_planner(params: int, room: int, most: int, reserved: int, node: int) -> None:
    limits = {"reserved_bytes": reserved, "multiple_of": node}
    if reserved > room:
        room += reserved
    ours = zero.smallest_stage(params, room, most, **limits)
    theirs = best_plan(params, room, most, **limits)
    assert (ours and [float(each) for each in ours]) == (theirs and [float(each) for each in theirs])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 6000), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
def test_plans_to_defend_are_among_labkits_fewest(params: int, room: int, node: int, nodes: int, K: int) -> None:
    """What nothing beats takes the fewest GPUs of its stage, and labkit's planner says how many those are."""
    plans = fitting_plans(params, room, node, nodes, 0, K)
    fewest = {p[:2]: p for p in zero.plans_by_stage(params, room, node * nodes, multiple_of=node).values() if p}
    good = [plan for plan in plans if not any(other.beats(plan) for other in plans)]
    assert bool(good) == bool(fewest)
    for plan in good:
        assert plan[:2] in fewest
        assert plan.used == fewest[plan[:2]].state_bytes
        assert plan.sent == zero.comm_elements(params, plan.world_size, plan.stage, K)


def test_a_plan_says_by_what_it_is_beaten() -> None:
    def choose_plan(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
        gpus = gpus_per_node * num_nodes
        used = 16 * Fraction(num_params, gpus) + reserved_bytes
        sent = 3 * micro_batches * num_params * Fraction(gpus - 1, gpus)
        return (3, gpus, used, sent) if used <= gpu_bytes else None

    text = read("choose_plan", choose_plan)
    assert "(3, 8, Fraction(106, 1), Fraction(126, 1)), which is beaten by stage 0 on 4 GPUs, each sends 72" in text
    assert "a plan that no other beats in GPUs and traffic" in text


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_parameters_are_those_of_an_instantiated_model(gated: bool, biases: bool, tied: bool) -> None:
    shape = TransformerShape("x", 3, 48, 6, 100, 70, kv_heads=2, positions=9, gated=gated, biases=biases, tied=tied)
    options = {"heads": 6, "kv_heads": 2, "positions": 9, "gated": gated, "biases": biases, "tied": tied}
    assert num_params(3, 48, 70, 100, **options) == measured_params(shape)


def test_published_models_have_their_published_sizes() -> None:
    assert num_params(12, 768, 50257, 3072, positions=1024) == 124_439_808
    assert num_params(48, 1600, 50257, 6400, positions=1024) == 1_557_611_200
    assert num_params(32, 4096, 32000, 11008, gated=True, biases=False, tied=False) == 6_738_415_616


def test_activations_are_what_autograd_keeps_but_for_masks_and_statistics() -> None:
    seq, batch, hidden, heads = 64, 2, 128, 4
    shape = TransformerShape("x", 2, hidden, heads, 4 * hidden, 50, positions=seq)
    sbh, statistics = seq * batch * hidden, 2 * 2 * 4 * seq * batch  # two norms, mean and 1/deviation, fp32
    masks = {"none": 2 * sbh + heads * seq * seq * batch, "selective": 2 * sbh, "full": 0}  # 2 bytes each, not 1
    for recompute, more in masks.items():
        seen = measured_layer_bytes(shape, seq, batch, dropout=0.1, recompute=recompute)
        rest = statistics if recompute != "full" else 0
        assert saved_bytes(seq, batch, hidden, heads, recompute=recompute) + more + rest == seen


@given(st.integers(1, 50), st.integers(1, 3), st.integers(1, 6), st.booleans(), st.sampled_from(["none", "selective"]))
def test_activations_agree_with_labkits_formula(seq: int, batch: int, t: int, sp: bool, recompute: str) -> None:
    options = {"tensor_parallel": t, "sequence_parallel": sp, "recompute": recompute}
    ours = transformer.activation_bytes(seq, batch, 48, 6, 2, **options)
    assert saved_bytes(seq, batch, 48, 6, 2, **options) == ours


def test_the_cache_is_as_large_as_its_arrays() -> None:
    keys = np.zeros((2, 3, 7, 5), np.float16)  # B, H, T, D
    assert cache_nbytes(7, 2, 4, 3, 5) == 4 * (keys.nbytes + keys.nbytes)


@pytest.mark.parametrize("number", range(14))
def test_one_process_is_torchs(number: int) -> None:
    case = exercise("zero_step").make_cases(3)[number]
    _, _, name, _, inputs, hidden, _ = case.args
    start, x, y = zero_play.data(case)
    params = torch.tensor(start, requires_grad=True)
    kind = torch.optim.SGD if name == "sgd" else torch.optim.Adam
    optimizer = kind([params], lr=zero_play.RATE[name])
    for x_step, y_step, expected in zip(x, y, zero_play.train_in_one_process(case), strict=True):
        optimizer.zero_grad()
        weights, out = params[: inputs * hidden].view(inputs, hidden), params[inputs * hidden :]
        hidden_units = torch.tanh(torch.tensor(x_step.reshape(-1, inputs)) @ weights)
        (hidden_units @ out - torch.tensor(y_step.reshape(-1))).square().mean().backward()
        optimizer.step()
        assert np.allclose(params.detach().numpy(), expected, rtol=0, atol=1e-12)


def test_the_ledgers_limits_are_what_labkit_places_and_sends() -> None:
    for case in exercise("zero_step").make_cases(5):
        ranks, stage, name, micro, inputs, hidden, _ = case.args
        model = zero.TanhRegression(inputs, hidden)
        optimizer = zero.SGD() if name == "sgd" else zero.Adam()
        placed = zero.place(model.start(), ranks, stage, optimizer)
        if stage:
            assert zero_play.most_held(case) == list(zero.held_bytes(placed[0]))
        padded = zero.padded_params(model.num_params, ranks)
        per_rank = 8 * zero.comm_elements(padded, ranks, stage, micro)
        assert zero_play.sent_range(case)[1] == ranks * per_rank


def test_cases_of_zero_step_are_those_that_the_facts_ask_for() -> None:
    """Adam alone hides a sum, two ranks alone hide missing padding, one step hides a stuck counter."""
    args = [case.args for case in exercise("zero_step").make_cases(0)]
    assert zero_play.STEPS >= 3
    assert {(stage, name) for _, stage, name, *_ in args} >= {(s, o) for s in (1, 2, 3) for o in ("sgd", "adam")}
    assert any(zero_play.num_params(case) % case.args[0] for case in exercise("zero_step").make_cases(0))
    assert {ranks for ranks, *_ in args} >= {1, 2, 3}
    assert any(micro > 1 for _, _, _, micro, *_ in args)


# --- the calculators of the bug hunt ----------------------------------------------------------------------


def random_input(question: str, rng: np.random.Generator) -> dict:
    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    sizes = {"seq": number(2, 40), "batch": number(2, 5), "layers": number(2, 5)}
    if question == "state_bytes":
        triple = [(2, 2, 12), (4, 4, 8), (2, 4, 12)][number(0, 3)]
        return {"num_params": number(1, 10**6), "world_size": number(2, 9), "stage": number(0, 4)} | {
            "bytes_per_param": triple
        }
    if question == "transformer_params":
        kinds = {"heads": 8, "kv_heads": 2 ** number(0, 4), "gated": bool(number(0, 2))}
        return {"layers": number(1, 5), "hidden": 16 * number(1, 5), "vocab": 50, "ffn": number(20, 90), **kinds}
    if question == "activation_bytes":
        parallel = {"tensor_parallel": number(1, 5), "sequence_parallel": bool(number(0, 2))}
        recompute = ["none", "selective", "full"][number(0, 3)]
        return {**sizes, "hidden": 32, "heads": 4, **parallel, "recompute": recompute}
    return {**sizes, "kv_heads": number(1, 5), "head_dim": number(1, 9), "bytes_per_element": number(1, 5)}


@pytest.mark.parametrize("question", ORACLES)
def test_right_calculators_are_right_and_broken_ones_are_not(question: str) -> None:
    rng = np.random.default_rng(0)
    inputs = [random_input(question, rng) for _ in range(200)]
    expected = [float(ORACLES[question](**each)) for each in inputs]
    for name in all_right()[question]:
        came = [float(find_calculator(question, name)(**each)) for each in inputs]
        assert np.allclose(came, expected, rtol=1e-12, atol=0), name
    for name in all_broken()[question]:
        came = [float(find_calculator(question, name)(**each)) for each in inputs]
        assert not np.allclose(came, expected, rtol=1e-9, atol=0), name


def test_four_calculators_are_shown_and_each_defect_of_theirs_was_published() -> None:
    assert list(SHOWN) == list(ORACLES)
    for question, broken in all_broken().items():
        assert next(iter(broken.values())).published, question


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"num_params": 5, "world_size": 0, "stage": 1}, "cannot be asked that (ZeroDivisionError"),
        ({"num_params": 5, "world_size": 2, "phase": 1}, "cannot be asked that (TypeError"),
        ({"num_params": 5, "world_size": 2, "stage": [None]}, "not a dict of the arguments of state_bytes"),
        ({"num_params": 10**30, "world_size": 2, "stage": 1}, "not a dict of the arguments of state_bytes"),
        ("stage 1", "not a dict of the arguments of state_bytes"),
        ({"num_params": 5, "world_size": 1, "stage": 1, "bytes_per_param": (1, 4, 0)}, "where it answers 25"),
    ],
)
def test_an_input_that_shows_nothing_is_explained(value: object, said: str) -> None:
    def failing_input(question, calculator):
        return value if question == "state_bytes" else None

    findings = exercise("failing_input").judge(failing_input).findings
    assert any("fp32 gradients" in each.case.name and said in each.message for each in findings), findings[0].message


# --- what a learner reads ---------------------------------------------------------------------------------
# Written as a learner would, differently from the wrong answers that they behave like.


def read(name: str, candidate: object, seed: int = 0) -> str:
    verdict = exercise(name).judge(candidate, seed=seed)
    assert not verdict.passed
    return str(verdict)


@pytest.mark.parametrize("number", [int, float, Fraction, np.float64])
def test_any_kind_of_number_will_do(number: type) -> None:
    def comm_elements(num_params, world_size, stage):
        exact = (3 if stage == 3 else 2) * Fraction(num_params * (world_size - 1), world_size)
        return number(exact) if number is not int or exact.denominator == 1 else exact

    assert exercise("comm_elements").judge(comm_elements).passed


def test_a_formula_without_its_ring_factor() -> None:
    text = read("comm_elements", lambda num_params, world_size, stage: [2, 2, 2, 3][stage] * num_params)
    assert "*the paper's round figures*: 2Φ and 3Φ drop the (N - 1)/N" in text


def test_a_tolerance_of_five_per_cent_would_not_see_this() -> None:
    def state_bytes(num_params, world_size, stage, bytes_per_param=(2, 2, 12)):
        shard = num_params / max(1, world_size - 1)
        held = [shard if stage > 2 else num_params, shard if stage > 1 else num_params, shard if stage else num_params]
        return sum(size * count for size, count in zip(bytes_per_param, held, strict=True))

    story = state_bytes(7_500_000_000, 64, 1) / float(cluster_share(7_500_000_000, 64, 1))
    assert abs(story - 1) < 0.001
    assert "*divided by N - 1*" in read("state_bytes", state_bytes)


def one_process_in_disguise(ranks, batches, model, optimizer, stage, ring):
    """Right parameters from stage 0's way, cut up afterwards: nothing is sent as the stage sends it."""
    N = len(ranks)
    whole = np.concatenate([r.params for r in ranks]) if stage == 3 else ranks[0].params
    params = whole[: model.num_params]
    grads = [model.backward(params, model.forward(params, batch)) for of_rank in batches for batch in of_rank]
    mean = np.mean(grads, axis=0)
    if stage == 0:
        updated = [optimizer.update(r.params, mean, r.optimizer) for r in ranks]
        return [zero.Rank(p, mean, state) for p, state in updated]
    mean = zero.pad(mean, zero.padded_params(mean.size, N))
    parts = list(zip(np.split(zero.pad(params, mean.size), N), np.split(mean, N), strict=True))
    updated = [optimizer.update(p, g, r.optimizer) for (p, g), r in zip(parts, ranks, strict=True)]
    joined = np.concatenate([p for p, _ in updated])
    return [
        zero.Rank(p if stage == 3 else joined.copy(), mean if stage == 1 else g, state)
        for (p, state), (_, g) in zip(updated, parts, strict=True)
    ]


def test_right_parameters_without_messages_fail_by_the_ledger() -> None:
    text = read("zero_step", one_process_in_disguise)
    assert "came      the right parameters, but 0 bytes sent by each rank in step 1" in text


def test_right_parameters_and_too_much_memory_fail_by_the_ledger() -> None:
    def hoards(ranks, batches, model, optimizer, stage, ring):
        after = zero.zero_step(ranks, batches, model, optimizer, stage, ring)
        return [rank._replace(grads=np.tile(rank.grads, 3)) for rank in after]

    text = read("zero_step", hoards)
    assert "at most 64 bytes of gradients after a step" in text
    assert "rank 0 holds 192 bytes of gradients after step 1" in text


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda after: after[:-1] or None, "zero_step returns a list of"),
        (lambda after: [tuple(rank)[:2] for rank in after], "a Rank has params, grads and optimizer; got tuple"),
        (lambda after: [(r.params.tolist(), r.grads, r.optimizer) for r in after], "got list, ndarray, dict"),
    ],
)
def test_something_that_is_no_list_of_ranks_is_named(result, said: str) -> None:
    text = read("zero_step", lambda *args: result(zero.zero_step(*args)))
    assert said in text


def test_a_summed_gradient_is_seen_with_adam_too() -> None:
    class Summed:
        def __init__(self, inner, ranks):
            self.inner, self.ranks = inner, ranks

        def update(self, params, grads, state):
            return self.inner.update(params, grads * self.ranks, state)

    def zero_step(ranks, batches, model, optimizer, stage, ring):
        return zero.zero_step(ranks, batches, model, Summed(optimizer, len(ranks)), stage, ring)

    verdict = exercise("zero_step").judge(zero_step)
    assert all("one rank" in f.case.name or f.misconception == "sum in place of the mean" for f in verdict.findings)
    assert any("adam" in finding.case.name for finding in verdict.findings)
    assert "Adam hides this almost completely" in str(verdict)


def test_plans_are_compared_as_a_whole() -> None:
    text = read("smallest_stage", lambda *sizes, **options: (3, 1, 192, 0))
    assert "came      (3, 1, 192, 0): another stage" in text


def planner(passes, key):
    """A planner with a way to count passes and a policy of its own."""

    def choose_plan(num_params, gpu_bytes, gpus_per_node, num_nodes, reserved_bytes, micro_batches):
        plans = []
        for stage in range(4):
            for gpus in range(gpus_per_node, gpus_per_node * num_nodes + 1, gpus_per_node):
                used = zero.state_bytes(num_params, gpus, stage) + reserved_bytes
                sent = passes(micro_batches)[stage] * num_params * Fraction(gpus - 1, gpus)
                if used <= gpu_bytes:
                    plans.append((stage, gpus, used, sent))
        return min(plans, key=key, default=None)

    return choose_plan


@pytest.mark.parametrize("key", [lambda p: (p[1], p[3]), lambda p: (p[3], p[1]), lambda p: (p[1] * p[3], p[0])])
@pytest.mark.parametrize(
    ("passes", "named"),
    [
        (lambda K: (2, 2, 2, 3), "micro-batches forgotten"),
        (lambda K: (2, 2, K + 1, K + 2), "stage 3 gathered once for the step"),
    ],
)
def test_a_planner_that_miscounts_passes_is_named_whatever_is_dear_to_it(passes, named: str, key) -> None:
    assert f"behaves like *{named}*" in read("choose_plan", planner(passes, key))


def test_a_plan_with_right_numbers_that_is_beaten_gets_no_name_of_a_miscount() -> None:
    text = read("choose_plan", planner(lambda K: (2, 2, K + 1, 3 * K), lambda p: (p[1] % 3, -p[3])))
    assert "which is beaten by" in text
    assert "behaves like" not in text


@pytest.mark.parametrize(
    ("full", "named"),
    [
        (lambda layers, sbh, t, whole: layers * 2 * sbh, "input of a recomputed layer never divided"),
        (lambda layers, sbh, t, whole: Fraction(layers * 2 * sbh, t), "input of a recomputed layer divided"),
        (lambda layers, sbh, t, whole: Fraction(2 * sbh, whole), "one recomputed layer"),
        (lambda layers, sbh, t, whole: Fraction(layers * sbh, whole), "elements of a recomputed layer's input"),
    ],
)
def test_what_is_wrong_about_full_recompute_is_said_of_full_recompute(full, named: str) -> None:
    def activation_bytes(
        seq, batch, hidden, heads, layers=1, *, tensor_parallel=1, sequence_parallel=False, recompute="none"
    ):
        options = {"sequence_parallel": sequence_parallel, "recompute": recompute}
        if recompute == "full":
            whole = tensor_parallel if sequence_parallel else 1
            return full(layers, seq * batch * hidden, tensor_parallel, whole)
        return transformer.activation_bytes(
            seq, batch, hidden, heads, layers, tensor_parallel=tensor_parallel, **options
        )

    assert f"behaves like *{named}*" in read("activation_bytes", activation_bytes)


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda question, calculator: None, "finds nothing"),
        (
            lambda question, calculator: {"num_params": 3} if question == "state_bytes" else None,
            "an input that was right",
        ),
        (lambda question, calculator: True, "true or false"),
    ],
)
def test_a_test_that_shows_nothing_is_named(answer, named: str) -> None:
    assert f"behaves like *{named}*" in read("failing_input", answer)
