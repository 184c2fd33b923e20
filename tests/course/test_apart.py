import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labkit.course import apart
from labkit.course.answers import decode, encode
from labkit.course.apart import Answer, AnswerFile, Apart, ask, ask_here
from labkit.course.exercise import Case, call

CASES = [Case("first", (np.arange(3.0),), ("x",)), Case("second", (np.arange(4.0),), ("x",))]
forked = pytest.mark.skipif(not apart.can_fork(), reason="this system cannot fork safely")


def _first(candidate: Any, limit_s: float = 5.0) -> Answer:
    return ask(candidate, call, CASES, limit_s)[0]


def test_answers_come_in_order() -> None:
    assert [answer.value for answer in ask(lambda x: float(x.sum()), call, CASES)] == [3.0, 6.0]


def test_an_exception_comes_with_the_candidates_own_line() -> None:
    def candidate(x: Any) -> float:
        y = x.reshape(7, 7)  # the line that a learner should see
        return float(y.sum())

    answer = _first(candidate)
    assert answer.outcome == "raised"
    assert answer.error.startswith("ValueError: cannot reshape")
    assert answer.line == "y = x.reshape(7, 7)  # the line that a learner should see"


@pytest.mark.parametrize("run", [ask, ask_here])
def test_an_endless_loop_is_stopped(run: Any) -> None:
    def candidate(x: Any) -> None:
        while True:
            pass

    started = time.monotonic()
    answers = run(candidate, call, CASES, 0.3)
    assert time.monotonic() - started < 5
    assert [answer.outcome for answer in answers] == ["timeout", "not-reached"]


@forked
def test_a_loop_that_swallows_everything_is_stopped_too() -> None:
    def candidate(x: Any) -> None:
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(60)

    assert _first(candidate, 0.3).outcome == "timeout"


@forked
@pytest.mark.parametrize("leave", [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)])
def test_a_candidate_that_leaves_has_not_answered(leave: Any) -> None:
    answers = ask(lambda x: leave(), call, CASES)
    assert [answer.outcome for answer in answers] == ["killed", "not-reached"]


def test_system_exit_is_an_answer_like_any_exception() -> None:
    assert _first(lambda x: sys.exit(0)).error == "SystemExit: 0"


@forked
def test_what_a_candidate_starts_ends_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    def candidate(x: Any) -> int:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        pid_file.write_text(str(pid))
        return pid

    pid = _first(candidate).value
    deadline = time.monotonic() + 3
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


@forked
def test_nothing_that_a_candidate_does_to_the_process_stays() -> None:
    def candidate(x: Any) -> float:
        np.sum = None  # type: ignore[assignment]
        CASES.clear()
        return 1.0

    assert _first(candidate).value == 1.0
    assert callable(np.sum)
    assert len(CASES) == 2


def test_a_changed_argument_is_named() -> None:
    def candidate(x: Any) -> float:
        x[0] = 7.0
        return float(x.sum())

    assert _first(candidate).changed == ("x",)


def test_what_is_printed_comes_along_and_stays_short() -> None:
    answer = _first(lambda x: print("y" * 10_000))
    assert answer.printed.startswith("yyy")
    assert len(answer.printed) < 2_100


def test_an_object_is_not_an_answer() -> None:
    answer = _first(lambda x: object())
    assert answer.outcome == "not-data"
    assert "object is not plain data" in answer.error


def test_a_stub_is_not_written() -> None:
    def candidate(x: Any) -> None:
        raise NotImplementedError("im2col: write this exercise")

    assert _first(candidate) == Answer("not-written", error="im2col: write this exercise")


@forked
def test_too_much_memory_is_an_exception_not_the_end_of_the_machine() -> None:
    answer = _first(lambda x: float(np.ones(2**36).sum()))
    assert answer.outcome == "raised"
    assert "MemoryError" in answer.error or "allocate" in answer.error


@forked
def test_torch_computes_in_the_child_after_the_parent_used_its_threads() -> None:
    torch = pytest.importorskip("torch")
    a = torch.randn(600, 600, requires_grad=True)
    (a @ a).sum().backward()  # OpenMP's threads exist now, and do not survive a fork

    def candidate(x: Any) -> float:
        b = torch.randn(600, 600, requires_grad=True)
        (b @ b).sum().backward()
        return float(b.grad.abs().sum() > 0)

    assert _first(candidate).value == 1.0


def test_an_answer_in_a_file_is_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "answer.py"
    path.write_text("import sys\nsys.read_by_a_candidate = True\ndef total(x):\n    return x.sum() / 0 + undefined\n")
    answer = _first(AnswerFile(path, "total"))
    assert answer.line == "return x.sum() / 0 + undefined"
    assert not hasattr(sys, "read_by_a_candidate") or not apart.can_fork()
    assert _first(AnswerFile(path, "other")).error == "NameError: answer.py defines no 'other'"


# --- several rounds ---------------------------------------------------------------------------------------


def _read_cases(data: bytes) -> list[Case]:
    return [Case(*fields) for fields in decode(data)]


def _round(asked: Apart, limit_s: float = 5.0) -> list[Answer]:
    return asked.ask(CASES, limit_s, encode([[case.name, case.args, case.names] for case in CASES]))


@forked
def test_the_rounds_of_one_candidate_are_answered_in_one_process() -> None:
    with Apart(lambda x: [float(x.sum()), os.getpid()], call, _read_cases) as asked:
        first, second = _round(asked), _round(asked)
    assert [answer.value[0] for answer in first + second] == [3.0, 6.0, 3.0, 6.0]
    (process,) = {answer.value[1] for answer in first + second}
    assert process != os.getpid()
    assert not _alive(process)


@forked
def test_a_process_that_ended_in_one_round_is_a_fresh_one_in_the_next() -> None:
    def candidate(x: Any) -> int:
        if len(x) == 4:
            os._exit(3)
        return os.getpid()

    with Apart(candidate, call, _read_cases) as asked:
        first, second = _round(asked), _round(asked)
    assert [answer.outcome for answer in first] == [answer.outcome for answer in second] == ["value", "killed"]
    assert first[0].value != second[0].value


@forked
def test_a_process_that_is_stopped_or_gone_between_rounds_has_not_answered() -> None:
    for sent, outcome in ((signal.SIGSTOP, "timeout"), (signal.SIGKILL, "killed")):
        with Apart(lambda x: os.getpid(), call, _read_cases) as asked:
            process = _round(asked)[0].value
            os.kill(process, sent)
            large = encode([["large", (np.zeros(10**6),), ("x",)]])  # more than a socket holds
            started = time.monotonic()
            (answer,) = asked.ask(CASES[:1], 0.5, large)
        assert answer.outcome == outcome
        assert time.monotonic() - started < 5
        assert not _alive(process)


@forked
def test_what_one_candidate_does_meanwhile_does_not_reach_another() -> None:
    seen: list[int] = []

    def candidate(x: Any) -> int:
        seen.append(len(x))
        return len(seen)

    with Apart(candidate, call, _read_cases) as one, Apart(candidate, call, _read_cases) as other:
        assert [answer.value for answer in _round(one)] == [1, 2]
        assert [answer.value for answer in _round(other)] == [1, 2]
        assert [answer.value for answer in _round(one)] == [3, 4]
    assert seen == []
