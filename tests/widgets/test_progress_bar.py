"""The bar of a long cell: what its line says, how often it is drawn, and that it is silent outside a notebook."""

import doctest
import re
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from labkit.widgets import progress_bar
from labkit.widgets.progress_bar import ProgressBar


def test_the_examples_run() -> None:
    result = doctest.testmod(progress_bar)
    assert (result.failed, result.attempted) == (0, 2)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.999])
def test_a_bar_is_as_long_as_ever_and_filled_by_its_share(share: float) -> None:
    line = ProgressBar("work").line(share, 3.0)
    assert len(re.findall("[█░]", line)) == progress_bar.WIDTH
    assert line.count("█") == round(share * progress_bar.WIDTH)
    assert ("to go" in line) == (share > 0.02)  # nothing is foretold from nothing


def test_one_output_is_replaced_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, str, bool]] = []
    clock = iter([0.0, 0.0, 0.1, 0.2, 0.5, 0.6, 0.61])
    monkeypatch.setattr(progress_bar, "monotonic", lambda: next(clock))
    monkeypatch.setattr(
        progress_bar, "_show", lambda line, display_id, update: drawn.append((line, display_id, update))
    )
    bar = ProgressBar("work")
    for share in (0.0, 0.1, 0.2, 0.5, 0.6, 1.0):
        bar(share)
    assert [line.split()[0] for line, _, _ in drawn] == ["work", "work", "work:"]
    assert [update for _, _, update in drawn] == [False, True, True]
    assert len({display_id for _, display_id, _ in drawn}) == 1
    assert drawn[-1][0] == "work: done in 1 s"


def test_outside_a_notebook_it_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InteractiveShell, "_instance", None)  # a notebook that ran in this process left its shell
    ProgressBar("work")(0.5)
    assert capsys.readouterr() == ("", "")


def test_in_a_notebook_the_line_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython.core.getipython
    import IPython.display

    sent: list[tuple[Any, Any]] = []
    monkeypatch.setattr(IPython.core.getipython, "get_ipython", object)
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: sent.append((data, options)))
    bar = ProgressBar("work")
    bar(0.5)
    bar(1)
    assert [list(data) for data, _ in sent] == [["text/plain"], ["text/plain"]]
    assert "update" not in sent[0][1]
    assert sent[1][1]["update"] is True
