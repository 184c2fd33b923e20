"""What a notebook talks to: `lab = labkit.open_lab("01_gemm_im2col")`, then cards, checks, hints, progress."""

from typing import Any

from labkit.course.describe import wrapped
from labkit.course.exercise import Exercise, Verdict
from labkit.course.exercises import all_labs, lab_spec
from labkit.course.lab_spec import LabSpec
from labkit.course.leaning import leaned_names
from labkit.course.progress import Progress
from labkit.course.release import released_names

RUNGS = ("a question", "the idea", "pseudo-code")
STARS = {1: "easy", 2: "medium", 3: "hard"}


class CheckFailed(AssertionError):
    """A check that did not pass; a notebook shows its text and no traceback."""

    def __init__(self, verdict: str, what_next: str) -> None:
        super().__init__(f"{verdict}\n{what_next}")
        self._lines = [
            *wrapped(verdict),
            *what_next.splitlines(),
        ]  # what is next is code to copy, and stays in one line

    def _render_traceback_(self) -> list[str]:  # IPython's hook
        return self._lines


class Misuse(ValueError):
    """A call of the lab's that cannot be meant so; a notebook shows one sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def open_lab(name: str, seed: int = 0) -> "Lab":
    """The lab of that name, for a notebook's first cell.

    Raises:
        KeyError: no lab has that name; the message lists those that exist.
    """
    return Lab(lab_spec(name), seed)


def course_progress() -> None:
    """Show every lab of the course and how much of it is solved here, over all sessions."""
    rows = ["| lab | what you build | minutes | solved |", "|---|---|---|---|"]
    for spec in all_labs():
        solved, total = Lab(spec).solved(), len(spec.exercises)
        state = f"{solved} of {total}" + (" ✓" if solved == total else "")
        rows.append(f"| [{spec.name}]({spec.name}.ipynb) · {spec.title} | {spec.summary} | {spec.minutes} | {state} |")
    _show_markdown("\n".join(rows))


class Lab:
    """One lab in one notebook."""

    def __init__(self, spec: LabSpec, seed: int = 0) -> None:
        self.spec = spec
        self.seed = seed
        self._progress = Progress(spec.name)
        self._guesses: dict[str, tuple[float | None, str]] = {}

    def __repr__(self) -> str:
        spec = self.spec
        exercises = "1 exercise" if len(spec.exercises) == 1 else f"{len(spec.exercises)} exercises"
        return f"{spec.title}: {exercises}, {_points(spec.points)}, about {spec.minutes} minutes"

    # --- cards and hints ----------------------------------------------------------------------------------

    def card(self, name: Any) -> None:
        """Show an exercise's card: what to write, how hard, how long, for how many points."""
        each = self._exercise(name)
        tier = "runs on any machine" if each.tier == "cpu" else "needs a GPU"
        lines = "about 1 line" if each.num_lines == 1 else f"about {each.num_lines} lines"
        _show_markdown(
            f"**Exercise `{each.name}`** · {STARS[each.difficulty]} · {each.minutes} min · {_points(each.points)}"
            f" · {lines} · {tier}\n\n{each.goal}\n\n```python\n{each.signature}\n```"
        )

    def case(self, name: Any, case: str) -> tuple[Any, ...]:
        """The arguments of one case, to try an answer on: `median(*lab.case("median", "two samples"))`."""
        each = self._exercise(name)
        cases = {made.name: made for made in each.make_cases(self.seed, each.tier)}
        if case not in cases:
            raise Misuse(f"{each.name} has no case {case!r}; it has: {', '.join(cases)}")
        return cases[case].for_learner()

    def hint(self, name: Any) -> None:
        """Show the next rung of an exercise's ladder of three: a question, the idea, pseudo-code."""
        each = self._exercise(name)
        index = self._progress.next_hint(each.name, len(each.hints))
        last = index == len(each.hints) - 1
        more = "That was the last rung; the answer is in `solutions/`." if last else "Run the cell again for more."
        _show_markdown(f"**Hint {index + 1} of {len(each.hints)}, {RUNGS[index]}.** {each.hints[index]}\n\n*{more}*")

    # --- checks -------------------------------------------------------------------------------------------

    def check(self, candidate: Any, name: str | None = None) -> None:
        """Check an answer: one green line, or `CheckFailed` with what was given, expected and came."""
        if isinstance(candidate, str):
            raise Misuse(f"lab.check takes the answer itself, not its name: lab.check({candidate})")
        each = self._exercise(name or candidate)
        if each.tier == "gpu" and not _has_gpu():
            print(f"– {each.name}: skipped, this machine has no GPU. It counts where there is one.")
            return
        verdict: Verdict = each.judge(candidate, seed=self.seed, tier=each.tier)
        self._progress.tried(each.name, verdict.passed)
        if not verdict.passed:
            raise CheckFailed(str(verdict), self._what_next(each, verdict))
        print(verdict)
        self._say_if_leaning(candidate)

    def _what_next(self, each: Exercise, verdict: Verdict) -> str:
        hint = f"  Stuck? lab.hint({each.name!r})"
        if verdict.not_written:
            return hint
        shown = verdict.findings[0]
        if shown.call:
            return f"{hint}\n  Try it on this one: {shown.call}"
        return f"{hint}\n  Try it on this case: lab.case({each.name!r}, {shown.case.name!r})"

    def progress(self) -> None:
        """Show which exercises of this lab are solved, over all sessions."""
        _show_markdown("\n".join([*_PROGRESS_HEAD, *map(self._progress_row, self.spec.exercises)]))

    def solved(self) -> int:
        """How many of the lab's exercises are solved."""
        return sum(self._progress.record(each.name).passed for each in self.spec.exercises)

    def _progress_row(self, each: Exercise) -> str:
        record = self._progress.record(each.name)
        state = "✓ solved" if record.passed else "tried" if record.num_tries else "open"
        return f"| `{each.name}` | {state} | {record.num_tries} | {record.num_hints} | {each.points} |"

    # --- predict, measure, reconcile ----------------------------------------------------------------------

    def predict(self, what: str, guess: float | None, unit: str = "") -> None:
        """Write a number down before the cell that measures it runs; None asks for one."""
        if guess is not None and not isinstance(guess, int | float):
            raise Misuse(f"a prediction is a number, and {guess!r} came: write one like 2.5, without its unit")
        self._guesses[what] = (guess, unit)
        if guess is None:
            print(f"Before you go on: what do you expect for {what}{_in(unit)}? Put your number in place of None.")
        else:
            print(f"You expect {guess:g}{_unit(unit)} for {what}.{_meant_in_percent(guess, unit)}")

    def reconcile(self, what: str, measured: float) -> None:
        """Set what was measured beside what was expected, with the factor between them."""
        guess, unit = self._guesses.get(what, (None, ""))
        print(f"Measured: {measured:.4g}{_unit(unit)} for {what}.")
        if guess is None:
            print("No prediction was written down: next time write one first, it is worth more than the number.")
        elif guess > 0 and measured > 0:
            factor = max(guess / measured, measured / guess)
            if factor < 1.1:
                print(f"Your prediction, {guess:g}{_unit(unit)}, is within 10 %.")
            elif guess > measured:
                print(f"Your prediction, {guess:g}{_unit(unit)}, is {factor:.3g} times the measured.")
            else:
                print(f"The measured is {factor:.3g} times your prediction, {guess:g}{_unit(unit)}.")
        else:
            print(f"Your prediction, {guess:g}{_unit(unit)}, is off by {abs(guess - measured):.3g}{_unit(unit)}.")

    # --- inside -------------------------------------------------------------------------------------------

    def _exercise(self, name: Any) -> Exercise:
        """By name, or by the function or class of that name."""
        name = name if isinstance(name, str) else str(getattr(name, "__name__", name))
        try:
            return self.spec.exercise(name)
        except KeyError as error:
            raise Misuse(str(error.args[0])) from None

    def _say_if_leaning(self, candidate: Any) -> None:
        history, released = _history(), released_names(self.spec)
        if not history or not released:
            return
        names = leaned_names(candidate, history, released, [each.name for each in self.spec.exercises])
        if names:
            listed = ", ".join(f"`{name}`" for name in names)
            print(f"  Note: your answer uses {listed}, which only a cell of your own defines. The grader takes")
            print("  the answer cells and nothing else: move the definition into the answer's cell.")


_PROGRESS_HEAD = ("| exercise | state | tries | hints | points |", "|---|---|---|---|---|")


def _history() -> list[str]:
    try:
        from IPython import get_ipython
    except ImportError:
        return []
    shell = get_ipython()
    return list(shell.user_ns.get("In", [])) if shell else []


def _show_markdown(text: str) -> None:
    try:
        from IPython import get_ipython
        from IPython.display import Markdown, display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
    else:
        # The text stands in text/plain too: for terminals, screen readers and notebooks that are not trusted.
        display({"text/markdown": Markdown(text).data, "text/plain": text}, raw=True)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _points(points: int) -> str:
    return "1 point" if points == 1 else f"{points} points"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _meant_in_percent(guess: float, unit: str) -> str:
    """For who writes 0.9 and means nine tenths."""
    if unit != "%" or not 0 < abs(guess) <= 1:
        return ""
    return f" (If you mean {guess:g} of the whole, write {100 * guess:g}: the unit is %.)"


def _in(unit: str) -> str:
    return f" (in {unit})" if unit else ""
