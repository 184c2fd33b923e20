"""Nothing lost: results are kept whole, one by one, and a run that was killed goes on where it stopped."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.course.lab_spec import LabSpec
from labkit.grading import made_up, store
from labkit.grading.classroom import not_begun, resumed
from labkit.grading.result import Key, Result, infrastructure
from labkit.grading.store import ClassRun, Store, StoreError, write_atomically

KEY = Key("ab" * 32, "00_start_here", "1-x", "cpu", 7)


def result(spec: LabSpec, outcome: str = "pass") -> Result:
    return replace(infrastructure("ann", spec, KEY, "why"), outcome=outcome)


def test_a_key_names_all_that_decides_a_result() -> None:
    changed = [replace(KEY, **{name: "other"}) for name in vars(KEY)]
    assert len({each.name for each in [KEY, *changed]}) == 1 + len(vars(KEY))
    assert set(vars(KEY)) == {"source_sha256", "lab", "lab_version", "tier", "seed", "labkit"}


def test_what_is_put_is_there_again(tmp_path: Path, start: LabSpec) -> None:
    there = Store(tmp_path)
    there.put("key", result(start))
    assert there.get("key") == result(start)
    assert there.get("other") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"submission": "ann"}', "\ud800"])
def test_a_result_that_cannot_be_read_is_no_result(tmp_path: Path, content: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "key.json").write_text(content, errors="replace")
    assert Store(tmp_path).get("key") is None


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "before")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "after")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_is_owed_never_replaces_what_stands(tmp_path: Path, start: LabSpec) -> None:
    there = Store(tmp_path)
    there.put("key", result(start))
    there.put("key", result(start, "infrastructure"))
    assert there.get("key") == result(start)


def test_too_little_room_is_said_before_grading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = store.shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="1 MB free, and 40 results need about 56 MB: make room"):
        Store(tmp_path).prepare(40)


def test_a_folder_that_is_a_file_is_said_before_grading(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(StoreError, match="cannot be written to"):
        Store(tmp_path / "out").prepare(1)


def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no grading run .* class\.json"):
        Store(tmp_path).run()
    (tmp_path / "class.json").write_text('{"format": 1}')
    with pytest.raises(StoreError, match="cannot be read"):
        Store(tmp_path).run()


def test_two_names_of_one_key_both_have_its_result(tmp_path: Path, start: LabSpec) -> None:
    there = Store(tmp_path)
    run = ClassRun(start.name, "1-x", 7, "0", "x", 9.0, {"ann": "key", "bob": "key", "cy": "none"})
    there.begin(run)
    there.put("key", result(start))
    assert [each.submission for each in there.results(there.run())] == ["ann", "bob"]


def test_two_names_of_one_file_keep_their_own_notes(start: LabSpec) -> None:
    run = ClassRun(start.name, "1-x", 7, "0", "x", 9.0, notes={"bob": "handed in as 'x (1).ipynb'"})
    assert run.result_of("ann", result(start)).notes == ("why",)
    assert run.result_of("bob", result(start)).notes == ("why", "handed in as 'x (1).ipynb'")


def test_a_run_of_an_older_labkit_can_be_read(tmp_path: Path, start: LabSpec) -> None:
    there = Store(tmp_path)
    there.begin(ClassRun(start.name, "1-x", 7, "0", "x", 9.0))
    data = json.loads(there.manifest_path.read_text())
    for name in ("notes", "passed_over"):
        del data[name]
    there.manifest_path.write_text(json.dumps(data))
    assert (there.run().notes, there.run().passed_over) == ({}, [])


def test_a_second_run_does_not_start_over_in_silence(tmp_path: Path, start: LabSpec) -> None:
    there = Store(tmp_path)
    there.begin(ClassRun(start.name, "1-x", 7, "0", "x", 9.0))
    not_begun(there)  # nothing was graded yet
    there.put("key", result(start))
    with pytest.raises(StoreError, match=r"holds 1 result already: add --resume .* or choose another --out"):
        not_begun(there)


def test_a_seed_is_named_as_it_was_given(tmp_path: Path, start: LabSpec) -> None:
    Store(tmp_path).begin(ClassRun(start.name, "1-x", 62_083_123, "0", "x", 9.0))
    with pytest.raises(StoreError, match="was begun with --seed 62083123:"):
        resumed(Store(tmp_path), 5, None)


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, start: LabSpec) -> Path:
    """Fourteen submissions: right, wrong, empty, broken, and the same file twice."""
    path = tmp_path_factory.mktemp("submissions")
    right = made_up.solutions(start)
    wrong = {"median": "def median(samples_ms):\n    return sum(samples_ms) / len(samples_ms)"}
    for number in range(10):
        noted = {"median": right["median"] + f"\n# by number {number}"}
        made_up.write(path, f"right-{number}", made_up.submission(start, noted))
    made_up.write(path, "wrong", made_up.submission(start, wrong))
    made_up.write(path, "wrong-too", made_up.submission(start, wrong))
    made_up.write(path, "empty", made_up.submission(start, {}))
    (path / "broken.ipynb").write_text("{")
    (path / "nested").mkdir()
    made_up.write(path / "nested", start.name, made_up.submission(start, right))
    return path


EXPECTED = {**{f"right-{n}": "pass" for n in range(10)}, "nested": "pass", "wrong": "wrong", "wrong-too": "wrong",
            "empty": "not-answered", "broken": "malformed"}  # fmt: skip


def grade(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "labkit", "grade", *map(str, arguments), "--lab", "00_start_here"]


@pytest.fixture(scope="module")
def graded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grades")
    run = subprocess.run(
        [*grade(folder, "--out", out), "--seed", "11", "--jobs", "2", "--json"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    listed = json.loads(run.stdout)
    assert {each["submission"]: each["outcome"] for each in listed} == EXPECTED
    assert all(set(each) == {"submission", "score", "max_score", "outcome"} for each in listed)
    return out


def test_a_class_is_graded_with_pages_for_everybody(graded: Path) -> None:
    with (graded / "gradebook.csv").open() as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert {name: row["outcome"] for name, row in rows.items()} == EXPECTED
    assert {path.stem for path in (graded / "feedback").glob("*.html")} == set(EXPECTED)
    page = (graded / "feedback" / "wrong.html").read_text()
    assert "this behaves like *mean*" in page
    assert "hint 1: a question" in page
    report = (graded / "report.md").read_text()
    assert "2 answers to median behave like “mean”" in report
    assert "wrong, wrong-too" not in report  # the same file, but with no points in it
    assert (graded / "report.html").read_text().count("<script") == 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_killed_at_random_moments_resumes_to_the_same_gradebook(
    folder: Path, graded: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grades"
    command = [*grade(folder, "--out", out), "--seed", "11", "--jobs", "1", "--resume"]
    moments = random.Random(3)
    kept = [0]
    for _ in range(3):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 240
        wanted = kept[-1] + moments.randint(1, 3)
        while len(list(out.glob("results/*.json"))) < wanted and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.1)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        kept.append(len(list(out.glob("results/*.json"))))
        for path in out.glob("results/*.json"):
            Result.from_data(json.loads(path.read_text()))
    assert kept[-1] >= 3
    assert kept == sorted(kept), "a result was lost"
    subprocess.run(command, check=True, capture_output=True)
    assert (out / "gradebook.csv").read_bytes() == (graded / "gradebook.csv").read_bytes()


def test_resuming_a_finished_run_grades_nothing_again(folder: Path, graded: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in graded.glob("results/*.json")}
    run = CliRunner().invoke(main, ["grade", str(folder), "--lab", "00_start_here", "--out", str(graded), "--resume"])
    assert run.exit_code == 0, run.output
    assert {path: path.stat().st_mtime_ns for path in graded.glob("results/*.json")} == before


def test_resume_refuses_another_lab_or_seed(folder: Path, graded: Path) -> None:
    for more, reason in (
        (["--lab", "01_gemm_im2col"], "holds results of 00_start_here"),
        (["--lab", "00_start_here", "--seed", "12"], "was begun with --seed 11"),
    ):
        run = CliRunner().invoke(main, ["grade", str(folder), "--out", str(graded), "--resume", *more])
        assert run.exit_code == 2
        assert reason in " ".join(run.output.split())


def test_resume_keeps_the_runs_own_time_limit(folder: Path, graded: Path) -> None:
    command = ["grade", str(folder), "--lab", "00_start_here", "--out", str(graded), "--resume", "--timeout", "9"]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 2
    assert "was begun with --timeout 120" in " ".join(run.output.split())


def test_a_folder_of_another_labs_results_is_not_written_over(gemm: LabSpec, folder: Path, tmp_path: Path) -> None:
    Store(tmp_path).begin(ClassRun(gemm.name, "1-x", 7, "0", "x", 9.0))
    run = CliRunner().invoke(main, ["grade", str(folder), "--lab", "00_start_here", "--out", str(tmp_path)])
    assert run.exit_code == 2
    assert "holds results of 01_gemm_im2col, not of 00_start_here" in " ".join(run.output.split())


def test_two_runs_never_write_into_one_folder(folder: Path, tmp_path: Path) -> None:
    with Store(tmp_path).locked():
        run = CliRunner().invoke(main, ["grade", str(folder), "--lab", "00_start_here", "--out", str(tmp_path)])
    assert run.exit_code == 2
    assert "another run is grading into" in run.output


def test_a_disk_that_fills_up_meanwhile_keeps_what_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put
    written: list[str] = []

    def full_after_two(self: Store, key: str, one: Result) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(key)
        put(self, key, one)

    monkeypatch.setattr(Store, "put", full_after_two)
    run = CliRunner().invoke(
        main, ["grade", str(folder), "--lab", "00_start_here", "--out", str(tmp_path), "--jobs", "1"]
    )
    assert run.exit_code == 2
    assert "make room, and run the same command with --resume" in " ".join(run.output.split())
    assert len(list(tmp_path.glob("results/*.json"))) == 2


def test_regrading_with_the_same_check_moves_nobody(graded: Path) -> None:
    run = CliRunner().invoke(main, ["regrade", str(graded), "--dry-run", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == []


def test_a_regrade_that_finds_a_submission_gone_leaves_the_class_as_it_was(
    folder: Path, graded: Path, tmp_path: Path
) -> None:
    before = (graded / "class.json").read_bytes()
    (tmp_path / "one.ipynb").write_bytes((folder / "wrong.ipynb").read_bytes())
    run = CliRunner().invoke(main, ["regrade", str(graded), "--submissions", str(tmp_path)])
    assert run.exit_code == 2
    assert "Put them back, or their results are lost" in " ".join(run.output.split())
    assert (graded / "class.json").read_bytes() == before
