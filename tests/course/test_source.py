import hashlib
from pathlib import Path

import pytest

from labkit.course import rules
from labkit.course.execute import canonical
from labkit.course.exercises import lab_spec
from labkit.course.source import SourceError, read_source, regions
from labkit.course.starter import make_starter, stub_out

SPEC = lab_spec("00_start_here")
ANSWER = '''# %%
def median(samples_ms):
    """The median.

    The docstring stays.
    """
    ### BEGIN SOLUTION
    ordered = sorted(samples_ms)
    return ordered[len(ordered) // 2]
    ### END SOLUTION
'''
CHECK = "\n# %%\nlab.check(median)\n"
GUESS = "\n# %%\n### BEGIN SOLUTION\nshare_guess = 60\n### END SOLUTION\nlab.predict('share', share_guess)\n"
TEXT = "# %% [markdown]\n# # Title\n\n# %% [markdown]\n# ## A part\n\n# %%\nx = 1\n\n"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "00_start_here.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_follows_from_the_source(tmp_path: Path) -> None:
    notebook = read_source(SPEC, _write(tmp_path, TEXT + ANSWER + CHECK + GUESS))
    ids = [cell.id for cell in notebook.cells]
    assert ids == ["title-m1", "a-part-m1", "a-part-c1", "answer-median", "check-median", "guess-share_guess"]
    assert notebook.cells[4].metadata.nbgrader.points == SPEC.exercise("median").points
    assert notebook.cells[4].metadata.tags == ["nbval-check-output"]
    assert rules.check_source(notebook) == []


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    path = _write(tmp_path, TEXT + ANSWER + CHECK)
    assert canonical(read_source(SPEC, path)) == canonical(read_source(SPEC, path))


def test_ids_stay_when_text_elsewhere_changes(tmp_path: Path) -> None:
    before = read_source(SPEC, _write(tmp_path, TEXT + ANSWER + CHECK))
    longer = TEXT.replace("# # Title", "# # Title\n#\n# more\n\n# %% [markdown]\n# and more")
    after = read_source(SPEC, _write(tmp_path, longer + ANSWER + CHECK))
    assert {cell.id for cell in before.cells} < {cell.id for cell in after.cells}


def test_the_starter_keeps_signature_and_docstring(tmp_path: Path) -> None:
    solution = read_source(SPEC, _write(tmp_path, TEXT + ANSWER + CHECK + GUESS))
    starter = make_starter(solution, SPEC)
    answer, guess = starter.cells[3].source, starter.cells[5].source
    assert "The docstring stays." in answer
    assert 'raise NotImplementedError("median: write this exercise, about 5 lines")' in answer
    assert "sorted" not in answer
    assert guess.startswith("share_guess = None  # write your number here")
    assert rules.check_starter(starter, solution) == []
    assert "sorted" in solution.cells[3].source


def test_the_checksum_is_nbgraders(tmp_path: Path) -> None:
    starter = make_starter(read_source(SPEC, _write(tmp_path, TEXT + ANSWER + CHECK)), SPEC)
    check = starter.cells[4]
    text = "lab.check(median)" + "code" + "True" + "False" + "True" + "check-median" + "1.0"
    assert check.metadata.nbgrader.checksum == hashlib.md5(text.encode()).hexdigest()
    assert check.metadata.deletable is False
    assert check.metadata.editable is False
    assert "editable" not in starter.cells[3].metadata


def test_a_region_at_the_left_edge_becomes_a_comment() -> None:
    source = "### BEGIN SOLUTION\nimport secret_helper\n### END SOLUTION\n" + ANSWER.removeprefix("# %%\n")
    stub = stub_out(source, SPEC)
    assert "secret_helper" not in stub
    assert stub.startswith("# imports and helper functions of yours may stand here")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT + ANSWER, "expected one cell check-median, found 0"),
        (TEXT + CHECK, "expected one cell answer-median, found 0"),
        (TEXT + ANSWER + "\n" + ANSWER + CHECK, "expected one cell answer-median, found 2"),
        (TEXT + ANSWER.replace("    ### END SOLUTION\n", "") + CHECK, "without ### END SOLUTION"),
        (TEXT + ANSWER.replace("def median(", "def median(:") + CHECK, "not Python"),
        (TEXT + ANSWER + CHECK + GUESS + GUESS, "more than one cell for guess-share_guess"),
    ],
)
def test_a_source_that_cannot_become_a_lab_says_why(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        read_source(SPEC, _write(tmp_path, text))


def test_regions_do_not_nest() -> None:
    with pytest.raises(SourceError, match="do not nest"):
        regions("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION")
    assert regions("text that says BEGIN SOLUTION is not a region") == []
