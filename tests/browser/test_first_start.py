"""The very first start by `labkit lab`: nobody's settings, nothing pops up, the start page, and its table of labs."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labkit.course.exercises import all_labs
from labkit.course.paths import ROOT

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

SETTLE_MS = 5_000  # the question about news comes within a second or two of the start


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a clone of its own is served: its progress is not ours."""
    clone = tmp_path / "clone"
    (clone / "labs").mkdir(parents=True)
    for lab in (ROOT / "labs").glob("*.ipynb"):
        (clone / "labs" / lab.name).write_bytes(lab.read_bytes())
    (clone / "labkit").symlink_to(ROOT / "labkit")
    start = (
        "from pathlib import Path; from labkit.commands import lab\n"
        f"lab.ROOT = Path({str(clone)!r}); lab.lab(['--no-browser'])"
    )
    # PATH and no more of this account's settings than Python and Jupyter need.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    process = subprocess.Popen(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, text=True, env={**kept, "HOME": str(tmp_path)}
    )
    assert process.stdout
    try:
        yield next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+/\S+", line)))
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.timeout(600)
def test_the_first_start_is_quiet_and_shows_the_labs_and_how_far_one_is(address: str, browser: Any, lab: "Lab") -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(60_000)
    page = context.new_page()
    first = type(lab)(page, lab._server, "first-start")
    page.goto(address)
    page.get_by_role("heading", name="Start here").first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    assert first.toasts() == []
    assert page.url.split("?")[0].endswith("/lab/tree/labs/00_start_here.ipynb")
    first.screenshot()

    # As a learner: one cell that makes the labs known, and the last one, which shows where one stands.
    for source in ("import labkit", "labkit.course_progress()"):
        cell = page.locator(".jp-Notebook .jp-CodeCell").filter(has_text=source).last
        cell.scroll_into_view_if_needed()
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        cell.locator(".jp-InputPrompt").filter(has_text=re.compile(r"\[\d+\]")).wait_for()
    table = page.locator(".jp-OutputArea table").last
    table.wait_for()
    table.scroll_into_view_if_needed()
    for spec in all_labs():
        row = table.get_by_role("row").filter(has_text=spec.name)
        assert f"0 of {len(spec.exercises)}" in row.inner_text()
    first.screenshot("table")
    table.get_by_role("link", name="01_gemm_im2col").click()
    page.get_by_role("heading", name=re.compile("GEMM")).first.wait_for()
    assert first.toasts() == []
    assert first.foreign_requests() == []
    context.close()
