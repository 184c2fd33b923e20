"""`failing_input(question, calculator)`: a learner's own tests, tried on right and on broken calculators."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from labkit.course.compare import Difference, compare_number
from labkit.course.describe import describe
from labkit.course.exercise import Candidate, Case, Exercise
from labkit.course.exercises.zero_memory.activation_bytes import saved_bytes
from labkit.course.exercises.zero_memory.calculators import all_broken, all_right, find_calculator
from labkit.course.exercises.zero_memory.kv_cache_bytes import cache_nbytes
from labkit.course.exercises.zero_memory.state_bytes import cluster_share
from labkit.course.exercises.zero_memory.transformer_params import num_params
from labkit.quantities import json_number

LARGEST = 10**12  # of a number in an input: the judge computes with them


def _params(
    layers: int, hidden: int, vocab: int, ffn: int, heads: int = 1, kv_heads: int = 1, gated: bool = True
) -> int:
    shape: dict[str, Any] = {"heads": heads, "kv_heads": kv_heads, "gated": gated}
    return num_params(layers, hidden, vocab, ffn, **shape, biases=False, tied=False)


# The oracles of the exercises of the same names.
ORACLES: dict[str, Callable[..., int | Fraction]] = {
    "state_bytes": cluster_share,
    "transformer_params": _params,
    "activation_bytes": saved_bytes,
    "kv_cache_bytes": cache_nbytes,
}


def _cases(seed: int, tier: str) -> list[Case]:
    right, broken = all_right(), all_broken()
    return [Case(f"{question}: {name}", (question, name)) for question in ORACLES for name in broken[question]] + [
        Case(f"{question}: {name}", (question, name)) for question in ORACLES for name in right[question]
    ]


def _probe(candidate: Candidate, case: Case) -> Any:
    question, name = case.args
    return candidate(question, find_calculator(question, name))


def _judge(case: Case, value: Any) -> Difference | None:
    question, name = case.args
    if name in all_right()[question]:
        return None if value is None else Difference("None: this calculator is right", _came(question, name, value))
    wanted = "a dict of arguments for which the calculator's answer is wrong"
    if value is None:
        return Difference(wanted, "None: your inputs do not show the defect")
    return None if _shows(question, name, value) else Difference(wanted, _came(question, name, value))


def _shows(question: str, name: str, value: Any) -> bool:
    if not _is_input(value):
        return False
    try:
        expected, came = ORACLES[question](**value), find_calculator(question, name)(**value)
    except Exception:  # whatever a learner's dict does to a formula, it is no input
        return False
    return compare_number(expected, came) is not None


def _diagnose(case: Case, value: Any) -> str | None:
    """The mistake that an answer shows by itself, whatever inputs a learner tries."""
    question, name = case.args
    if value is None:
        return "finds nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, tuple | list):
        return "positional arguments"
    if name in all_right()[question]:
        return "every calculator fails"
    return "an input that was right" if _is_input(value) and set(value) else None


def _is_input(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    numbers = [each for item in value.values() for each in (item if isinstance(item, tuple | list) else (item,))]
    return all(isinstance(each, str | bool | int | float | Fraction) for each in numbers) and all(
        0 <= each <= LARGEST for each in numbers if not isinstance(each, str)
    )


def _came(question: str, name: str, value: Any) -> str:
    said = describe(value)
    if not _is_input(value):
        return f"{said}: not a dict of the arguments of {question}, by name"
    try:
        expected, came = ORACLES[question](**value), find_calculator(question, name)(**value)
    except Exception as error:
        return f"{said}: {question} cannot be asked that ({type(error).__name__}: {error})"
    return f"{said}, where it answers {_shown(came)}, and {_shown(expected)} is right"


def _shown(value: Any) -> str:
    return describe(json_number(value) if isinstance(value, Fraction) else value)


failing_input = Exercise(
    name="failing_input",
    signature="failing_input(question, calculator)",
    goal="Return a dict of keyword arguments for which the calculator's answer is wrong by more than rounding (1e-9),"
    " or None where all your inputs are answered rightly. The question is one of `state_bytes`, `transformer_params`,"
    " `activation_bytes`, `kv_cache_bytes`.",
    cases=_cases,
    judge_case=_judge,
    probe=_probe,
    diagnosis=_diagnose,
    hints=(
        "Which arguments could a calculator ignore without your noticing, because yours always have the same value?",
        "For each question keep a list of inputs, and your own function beside it as the right answer. In some input"
        " every argument must differ from its default, and from the others: stage 1, 2 and 3, ranks above 1, other"
        " bytes, fewer key heads, each kind of recompute, sequence parallelism.",
        "`for arguments in INPUTS[question]: ours, theirs = RIGHT[question](**arguments), calculator(**arguments)`; if"
        " `abs(theirs - ours) > 1e-9 * ours`, return arguments. After the loop, None.",
    ),
    points=3,
    minutes=20,
    difficulty=2,
    num_lines=16,
)
wrong, right = failing_input.wrong, failing_input.right


def _inputs():
    """Inputs that show every defect, for the wrong ones to spoil."""
    states = [
        {"num_params": 1001, "world_size": 3, "stage": stage, "bytes_per_param": sizes}
        for stage in range(4)
        for sizes in ((2, 2, 12), (4, 4, 8), (1, 3, 5))
    ]
    shape = {"layers": 3, "hidden": 64, "vocab": 100, "ffn": 200}
    heads = ((4, 4), (4, 1))
    params = [{**shape, "heads": a, "kv_heads": k, "gated": gated} for a, k in heads for gated in (True, False)]
    sizes = {"seq": 20, "batch": 2, "hidden": 64, "heads": 4, "layers": 3}
    kept = [
        {**sizes, "tensor_parallel": t, "sequence_parallel": sp, "recompute": recompute}
        for t, sp in ((1, False), (2, False), (2, True))
        for recompute in ("none", "selective", "full")
    ]
    cache = [
        {"seq": 7, "batch": batch, "layers": 3, "kv_heads": 2, "head_dim": 5, "bytes_per_element": size}
        for batch in (1, 4)
        for size in (2, 4)
    ]
    return {"state_bytes": states, "transformer_params": params, "activation_bytes": kept, "kv_cache_bytes": cache}


def _first(question, calculator, keep=lambda arguments: True, relative=1e-9):
    for arguments in filter(keep, _inputs()[question]):
        expected = ORACLES[question](**arguments)
        if abs(Fraction(calculator(**arguments)) - expected) > Fraction(relative) * expected:
            return arguments
    return None


@wrong(
    "finds nothing",
    "your inputs do not show these defects: let every argument vary, for one that never does can be ignored unnoticed.",
)
def _(question, calculator):
    return None


@wrong("every calculator fails", "return None for a calculator that is right: a test that always fails is no test.")
def _(question, calculator):
    return _inputs()[question][-1]


@wrong("compared with ==", "floats and Fractions differ in the last digit: allow 1e-9 of the value.")
def _(question, calculator):
    for arguments in _inputs()[question]:
        if question == "state_bytes" and calculator(**arguments) != ORACLES[question](**arguments):
            return arguments
    return _first(question, calculator)


@wrong("ten per cent allowed", "GiB for GB is 7 %, and passes: a formula is right to the last digit or wrong.")
def _(question, calculator):
    return _first(question, calculator, relative=0.1)


@wrong("a single rank", "on one rank all stages are alike, and so are tensor and sequence parallelism.")
def _(question, calculator):
    def alone(arguments):
        return {**arguments, **({"world_size": 1} if "world_size" in arguments else {})}

    for arguments in map(alone, _inputs()[question]):
        if arguments.get("tensor_parallel", 1) == 1 and _differs(question, calculator, arguments):
            return arguments
    return None


def _differs(question, calculator, arguments):
    return compare_number(ORACLES[question](**arguments), calculator(**arguments)) is not None


@wrong("stage 3 only", "a calculator can be wrong at one stage alone: try each of them.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: arguments.get("stage", 3) == 3)


@wrong("default bytes only", "a calculator that ignores its bytes per parameter is right with the default.")
def _(question, calculator):
    def usual(arguments):
        sizes = arguments.get("bytes_per_param", (2, 2, 12)), arguments.get("bytes_per_element", 2)
        return sizes == ((2, 2, 12), 2)

    return _first(question, calculator, usual)


@wrong("as many key heads as query heads", "without grouped heads nobody sees whether they are counted.")
def _(question, calculator):
    return _first(
        question, calculator, lambda arguments: arguments.get("kv_heads") in (None, 2, arguments.get("heads"))
    )


@wrong("gated MLPs only", "a calculator that gives every MLP a gate is right on these.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: arguments.get("gated", True))


@wrong("no recompute", "recompute has three values: a calculator may mix two of them up.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: arguments.get("recompute", "none") == "none")


@wrong("full recompute only", "what full recompute drops cannot be wrong: try without recompute too.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: arguments.get("recompute", "full") == "full")


@wrong("no sequence parallelism", "one published calculator is wrong only with it: try tensor parallelism both ways.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: not arguments.get("sequence_parallel"))


@wrong("a batch of one", "with one sequence nobody sees whether the batch is counted.")
def _(question, calculator):
    return _first(question, calculator, lambda arguments: arguments.get("batch", 1) == 1 or "heads" in arguments)


@wrong("first input only", "the first input is answered rightly by most of them: try all your inputs.")
def _(question, calculator):
    arguments = _inputs()[question][0]
    return arguments if _differs(question, calculator, arguments) else None


@wrong("positional arguments", "return the arguments by name, as a dict, so that a reader sees what was asked.")
def _(question, calculator):
    arguments = _first(question, calculator)
    return arguments and tuple(arguments.values())


@wrong("true or false", "say on which input it is wrong, so that somebody else can see it too: return the arguments.")
def _(question, calculator):
    return _first(question, calculator) is not None or None


@wrong("an input that was right", "it returns the input before the one that failed, or the last one tried.")
def _(question, calculator):
    return _inputs()[question][0] if _first(question, calculator) else None


@right("a table of inputs and an oracle each")
def _(question, calculator):
    return _first(question, calculator)


@right("random inputs")
def _(question, calculator):
    import random

    rng = random.Random(0)
    for _ in range(60):
        arguments = _random_input(question, rng)
        if _differs(question, calculator, arguments):
            return arguments
    return None


def _random_input(question, rng):
    if question == "state_bytes":
        sizes = rng.choice([(2, 2, 12), (4, 4, 8), (2, 4, 12), (1, 1, 4)])
        numbers = rng.randint(1, 10**6), rng.randint(2, 9), rng.randint(0, 3)
        return {**dict(zip(("num_params", "world_size", "stage"), numbers, strict=True)), "bytes_per_param": sizes}
    if question == "transformer_params":
        sizes = {"layers": rng.randint(1, 5), "hidden": 16 * rng.randint(1, 5), "vocab": 50, "ffn": rng.randint(20, 90)}
        return {**sizes, "heads": 8, "kv_heads": rng.choice([1, 2, 4, 8]), "gated": rng.random() < 0.5}
    if question == "activation_bytes":
        numbers = {"seq": rng.randint(2, 40), "batch": rng.randint(1, 4), "hidden": 32, "heads": 4, "layers": 2}
        parallel = {"tensor_parallel": rng.choice([1, 2, 4]), "sequence_parallel": rng.random() < 0.5}
        return {**numbers, **parallel, "recompute": rng.choice(["none", "selective", "full"])}
    names = ("seq", "batch", "layers", "kv_heads", "head_dim", "bytes_per_element")
    return {name: rng.randint(1, 6) for name in names}


@right("laws instead of right answers")
def _(question, calculator):
    """States and cache: halves and doubles that must come out. The other two against a known number."""
    if question == "state_bytes":
        for sizes in ((2, 2, 12), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
            for stage in range(4):
                arguments = {"num_params": 24, "world_size": 4, "stage": stage, "bytes_per_param": sizes}
                copies = (1 if stage >= first else 4 for first in (3, 2, 1))
                cluster = sum(24 * size * count for size, count in zip(sizes, copies, strict=True))
                if abs(4 * calculator(**arguments) - cluster) > 1e-9 * cluster:
                    return arguments
        return None
    return _first(question, calculator)
