"""Exercise, Case, Finding, Verdict: a check that is itself tested.

An exercise knows its cases, how to obtain an answer from a candidate (the probe), how an answer is judged,
and two banks of candidates of its own: wrong ones that it must reject, each with the sentence that a learner
reads when their answer behaves like it, and right ones of different kinds that it must accept.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from labkit.course.apart import LIMIT_S, Answer, Probe, ask, ask_here
from labkit.course.compare import Difference
from labkit.course.describe import describe, shortened
from labkit.course.naming import Mistake, Second, Told, View, name_by_numbers, name_together

Candidate = Callable[..., Any]
MAX_OWN_ANSWERS = 10_000  # kept by an exercise: all wrong answers to all cases of the matrix's five seeds, and more


@dataclass(frozen=True)
class Case:
    """One input, as plain data.

    `names` are the arguments' names as a learner reads them; the exercise fills them in from its signature.
    """

    name: str
    args: tuple[Any, ...]
    names: tuple[str, ...] = ()

    def given(self) -> str:
        """The arguments on one line: `x = float64 (1, 2, 5, 5); kernel = 3`."""
        return "; ".join(f"{name} = {describe(value)}" for name, value in zip(self.names, self.args, strict=False))

    def for_learner(self) -> tuple[Any, ...]:
        """The arguments as the answer is called with them, where those are not plain data."""
        return self.args

    def weight(self) -> int:
        """How much there is to look at, so that the smallest failing case can be shown."""
        return _weight(self.args)

    def num_questions(self) -> int:
        """How often the answer is called."""
        return 1


@dataclass(frozen=True)
class Finding:
    """One case that went wrong, and the name of the known mistake that it looks like (or None)."""

    case: Case
    misconception: str | None
    message: str
    call: str = ""  # what to type to see it again, where a case asks many questions


@dataclass(frozen=True)
class Wrong(Mistake):
    """A plausible wrong answer: its name, the sentence a learner should read, and the candidate."""

    candidate: Any
    never_ends: bool = False


@dataclass(frozen=True)
class Right:
    """A right answer that differs in kind from the others."""

    name: str
    candidate: Any


@dataclass(frozen=True)
class Verdict:
    """What a learner reads: `print(verdict)`."""

    exercise: str
    num_cases: int
    seed: int
    findings: tuple[Finding, ...]
    note: str = ""
    not_written: str = ""  # what is missing, in the stub's own words, where everything else is right
    waits_for: str = ""  # methods that are not written yet, where others are wrong already
    num_waiting: int = 0  # cases that such a method ended
    num_not_reached: int = 0  # cases that were not tried, since an earlier one ended the run

    @property
    def passed(self) -> bool:
        """True when every case was answered rightly."""
        return not self.findings

    def __str__(self) -> str:
        if self.passed:
            cost = f" {self.note}" if self.note else ""
            return f"✓ {self.exercise}: right on all {self.num_cases} cases (seed {self.seed}).{cost}"
        if self.not_written:
            return f"○ {self.exercise}: not written yet: {self.not_written}"
        count = len(self.findings) - self.num_not_reached - self.num_waiting
        more = f", and {self.num_not_reached} could not be tried" if self.num_not_reached else ""
        more += f", and {self.num_waiting} wait for {self.waits_for}, not written yet" if self.num_waiting else ""
        more += "; the smallest:" if count > 1 else ":"
        fail = "fails" if count == 1 else "fail"
        return (
            f"✗ {self.exercise}: {count} of {self.num_cases} cases {fail} (seed {self.seed}){more}\n"
            f"{self.findings[0].message}"
        )


def call(candidate: Candidate, case: Case) -> Any:
    """The usual probe: call the candidate with the case's arguments."""
    return candidate(*case.args)


@dataclass(eq=False)
class Exercise:
    """A name that a learner must define, and everything that decides whether it is right.

    Args:
        name: the function or class to write, as in the lab.
        signature: as the learner reads it, `im2col(x, kernel, stride=1, padding=0, dilation=1)`.
        goal: one sentence with a verb.
        cases: (seed, tier) -> cases. Small ones and tight pairs first, then random ones.
        judge_case: (case, value) -> a `Difference`, or None when the value is right.
        hints: a question, the idea, pseudo-code.
        probe: (candidate, case) -> plain data; `call` unless the candidate is a class or takes tensors.
        note: values of all cases -> what the answer cost, counted, for the green line.
        seconds: mistakes that hide the name of another when both are made.
        diagnosis: (case, wrong value) -> the name of the mistake that its own numbers show, or None: for answers
            that choose, of which the bank cannot hold every choice.
        names_in_part: whether a mistake may be named that shows in some of the failing cases only.
    """

    name: str
    signature: str
    goal: str
    cases: Callable[[int, str], Sequence[Case]]
    judge_case: Callable[[Case, Any], Difference | None]
    hints: tuple[str, str, str]
    points: int
    minutes: int
    difficulty: int  # 1 to 3
    num_lines: int  # of a typical answer
    tier: str = "cpu"
    probe: Probe = call
    limit_s: float = LIMIT_S
    note: Callable[[Sequence[Case], Sequence[Any]], str] | None = None
    seconds: Sequence[Second] = ()
    names_in_part: bool = False
    diagnosis: Callable[[Case, Any], str | None] | None = None
    lab: str = ""  # filled in by the lab that lists it
    wrong_answers: list[Wrong] = field(default_factory=list)
    right_answers: list[Right] = field(default_factory=list)
    _own_answers: dict[tuple[str, str, bytes], Answer] = field(default_factory=dict, init=False, repr=False)

    # --- the two banks ------------------------------------------------------------------------------------

    def wrong(self, name: str, sentence: str, never_ends: bool = False) -> Callable[[Any], Any]:
        """Decorator: a wrong answer that must be rejected by this name."""

        def add(candidate: Any) -> Any:
            self.wrong_answers.append(Wrong(name, sentence, candidate, never_ends))
            return candidate

        return add

    def right(self, name: str) -> Callable[[Any], Any]:
        """Decorator: a right answer that must be accepted."""

        def add(candidate: Any) -> Any:
            self.right_answers.append(Right(name, candidate))
            return candidate

        return add

    # --- judging ------------------------------------------------------------------------------------------

    def make_cases(self, seed: int, tier: str = "cpu") -> tuple[Case, ...]:
        """The cases for a seed, with the arguments' names filled in."""
        names = argument_names(self.signature)
        cases = tuple(replace(case, names=case.names or names) for case in self.cases(seed, tier))
        if not cases:
            raise RuntimeError(f"{self.name} has no cases for seed {seed}: a check that tries nothing is no check")
        return cases

    def judge(self, candidate: Any, seed: int = 0, tier: str = "cpu", limit_s: float | None = None) -> Verdict:
        """Run the candidate apart from this process, and judge its answers here."""
        cases = self.make_cases(seed, tier)
        return self.judge_answers(cases, ask(candidate, self.probe, cases, limit_s or self.limit_s), seed)

    def judge_answers(self, cases: Sequence[Case], answers: Sequence[Answer], seed: int) -> Verdict:
        """Judge answers that were obtained somewhere else; a case without its answer has failed."""
        if len(answers) != len(cases):
            raise ValueError(f"{self.name}: {len(cases)} cases need as many answers, {len(answers)} came")
        failing = [
            (case, answer, difference)
            for case, answer in zip(cases, answers, strict=True)
            if (difference := self._why_wrong(case, answer))
        ]
        if not failing:
            note = self.note(cases, [answer.value for answer in answers]) if self.note else ""
            return Verdict(self.name, len(cases), seed, (), note)
        failing.sort(key=lambda item: (item[1].outcome in ("not-reached", "not-written"), item[0].weight()))
        known = self._recognise(cases, answers, [case for case, _, _ in failing])
        told = Told(known.name, f"this behaves like {known}") if known else self._name_together(failing)
        name, tail = (told.name, f"\n  {told.text}") if told else (None, "")
        findings = tuple(
            Finding(case, name, self._message(case, answer, why) + tail, why.asked and f"{self.name}{why.asked}")
            for case, answer, why in failing
        )
        unwritten = [answer for answer in answers if answer.outcome == "not-written"]
        methods = _listed(dict.fromkeys(answer.method for answer in unwritten if answer.method))
        only = len(unwritten) == len(failing)
        return Verdict(
            self.name,
            len(cases),
            seed,
            findings,
            not_written=self._still_to_write(unwritten[0], methods, len(cases) - len(failing)) if only else "",
            waits_for="" if only else methods or "the rest",
            num_waiting=0 if only else len(unwritten),
            num_not_reached=sum(answer.outcome == "not-reached" for _, answer, _ in failing),
        )

    def _still_to_write(self, stub: Answer, methods: str, num_right: int) -> str:
        """The stub's own words, after the methods that have one and before what is right already."""
        words = stub.error.removeprefix(f"{self.name}: ")
        said = ": ".join(part for part in (methods, words) if part) or "a NotImplementedError stands in it"
        return f"{said} ({_cases(num_right)} right already)" if num_right else said

    def _why_wrong(self, case: Case, answer: Answer) -> Difference | None:
        """What was expected and what came; None when the answer is right."""
        if answer.outcome != "value":
            return Difference("an answer", _in_words(answer), answer.asked)
        difference = self.judge_case(case, answer.value)
        if difference is None and answer.changed:
            changed = ", ".join(answer.changed)
            return Difference("arguments left as they were", f"the answer changed its argument {changed}")
        return difference

    def _message(self, case: Case, answer: Answer, difference: Difference) -> str:
        """Given, expected, came."""
        one = f"{self.name}{shortened(difference.asked)}, one of {case.given()}" if difference.asked else ""
        lines = [
            f"  case      {case.name}",
            f"  given     {one or case.given()}",
            f"  expected  {difference.expected}",
            f"  came      {difference.came}",
        ]
        if answer.printed:
            lines.append("  printed   " + answer.printed.rstrip().replace("\n", "\n            "))
        return "\n".join(lines)

    def _recognise(self, cases: Sequence[Case], answers: Sequence[Answer], failing: Sequence[Case]) -> Wrong | None:
        """The known wrong answer that answers alike on the failing cases; the one closest on the others."""
        by_case = {id(case): answer for case, answer in zip(cases, answers, strict=True)}
        failing = [case for case in failing if by_case[id(case)].outcome != "not-written"]
        failing.sort(key=lambda case: case.num_questions())  # most mistakes differ at once: let that be a short case
        theirs = [by_case[id(case)] for case in failing]
        if not failing:
            return None
        alike = [wrong for wrong in self.wrong_answers if self._same_answers(wrong, failing, theirs)]
        # A second mistake, in the dtype, must not hide the first: look again with the dtypes set aside.
        alike = alike or [w for w in self.wrong_answers if self._same_answers(w, failing, theirs, any_dtype=True)]
        if len(alike) < 2:
            return alike[0] if alike else None
        failing_ids = {id(case) for case in failing}
        passing = [case for case in cases if id(case) not in failing_ids]
        return min(alike, key=lambda wrong: self._num_different(wrong, passing, by_case))

    def _name_together(self, failing: Sequence[tuple[Case, Answer, Any]]) -> Told | None:
        """What to say of an answer that no single wrong one explains, where the exercise allows it."""
        failing = [each for each in failing if each[1].outcome not in ("not-written", "not-reached")]
        if not failing:
            return None
        if self.diagnosis:
            shown = [self.diagnosis(case, a.value) if a.outcome == "value" else None for case, a, _ in failing]
            return name_by_numbers(self.wrong_answers, shown)
        if not (self.seconds or self.names_in_part):
            return None

        def alike(wrong: Wrong, number: int, view: View) -> bool:
            case = failing[number][0]
            return not wrong.never_ends and same_answer(view(self._own_answer(wrong, case)), view(answers[number]))

        answers = [self._as_seen(case, answer) for case, answer, _ in failing]
        return name_together(self.wrong_answers, answers, self.seconds, self.names_in_part, alike)

    def _same_answers(
        self, wrong: Wrong, cases: Sequence[Case], answers: Sequence[Answer], any_dtype: bool = False
    ) -> bool:
        if wrong.never_ends:
            return any(answer.outcome == "timeout" for answer in answers)
        for case, answer in zip(cases, answers, strict=True):  # one by one: most differ at once
            if not same_answer(self._own_answer(wrong, case), answer, any_dtype):
                return False
        return True

    def _num_different(self, wrong: Wrong, cases: Sequence[Case], by_case: dict[int, Answer]) -> int:
        if wrong.never_ends:
            return 0
        return sum(not same_answer(self._own_answer(wrong, case), by_case[id(case)]) for case in cases)

    def _as_seen(self, case: Case, answer: Answer) -> Answer:
        """The answer as `_own_answer` gives those of known mistakes, so that the two can be compared."""
        return answer

    def _own_answer(self, wrong: Wrong, case: Case) -> Answer:
        """What a known wrong answer says to a case; kept, for it is asked again with every answer that fails."""
        from labkit.course.answers import decode, digest, encode

        asked = (wrong.name, case.name, digest(case.args))
        if asked not in self._own_answers:
            if len(self._own_answers) >= MAX_OWN_ANSWERS:
                self._own_answers.clear()
            copy = replace(case, args=decode(encode(case.args)))  # a wrong answer may change its arguments
            self._own_answers[asked] = ask_here(wrong.candidate, self.probe, [copy], None)[0]
        return self._own_answers[asked]


def argument_names(signature: str) -> tuple[str, ...]:
    """The parameters' names of a signature in text.

    >>> argument_names("im2col(x, kernel, stride=1)")
    ('x', 'kernel', 'stride')
    """
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    parts = [part.strip().partition("=")[0].partition(":")[0].strip() for part in inside.split(",")]
    return tuple(part for part in parts if part.isidentifier())


def same_answer(a: Answer, b: Answer, any_dtype: bool = False) -> bool:
    """Whether two answers are the same to a reader: rounding aside, and whatever an exception's text says."""
    if a.outcome != b.outcome or set(a.changed) != set(b.changed):
        return False
    if a.outcome == "raised":
        return a.error.partition(":")[0] == b.error.partition(":")[0]
    return a.outcome != "value" or same_value(a.value, b.value, any_dtype)


def same_value(a: Any, b: Any, any_dtype: bool = False) -> bool:
    """Equal in structure, shape and (unless `any_dtype`) dtype, and close in every number."""
    import numpy as np

    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        alike = a.shape == b.shape and (any_dtype or a.dtype == b.dtype)
        return alike and bool(np.allclose(a, b, 1e-5, 1e-8, equal_nan=True))
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same_value(x, y, any_dtype) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_value(a[key], b[key], any_dtype) for key in a)
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return type(a) is type(b) and bool(a == b)
    if isinstance(a, float | np.floating) or isinstance(b, float | np.floating):
        try:
            return bool(np.isclose(float(a), float(b), 1e-9, 0.0, equal_nan=True))
        except (TypeError, ValueError, OverflowError):
            return False
    return not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and bool(a == b)


def _in_words(answer: Answer) -> str:
    if answer.outcome == "raised":
        where = f"\n            line {answer.line_number}: {answer.line}" if answer.line else ""
        return answer.error + where
    if answer.outcome == "not-written":
        return f"not written yet: {answer.method or answer.error or 'a NotImplementedError stands in it'}"
    if answer.outcome == "timeout":
        return f"{answer.error}: it was stopped. Does a loop never end?"
    return answer.error


def _listed(names: Iterable[str]) -> str:
    *before, last = [f"`{name}`" for name in names] or [""]
    return f"{', '.join(before)} and {last}" if before else last


def _cases(count: int) -> str:
    return "1 case is" if count == 1 else f"{count} cases are"


def _weight(value: Any) -> int:
    size = getattr(value, "size", None)
    if isinstance(size, int):
        return size
    if isinstance(value, list | tuple):
        return 1 + sum(map(_weight, value))
    if isinstance(value, dict):
        return 1 + sum(map(_weight, value.values()))
    return 1
