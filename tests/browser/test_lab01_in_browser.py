"""Lab 01 as a learner meets it: the starter from its first gap to green, and the solution run through."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "01_gemm_im2col"
RUN_ALL_MS = 120_000


def test_the_starter_from_its_first_gap_to_green(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.run_all()
    page = lab.page
    red = page.get_by_text("○ gemm_flops: not written yet:")
    red.wait_for(timeout=RUN_ALL_MS)
    red.scroll_into_view_if_needed()
    lab.screenshot("not-written")

    lab.write_answer("def gemm_flops", "def gemm_flops(m, n, k):\n    return m * n * k")
    said = page.get_by_text("✗ gemm_flops:")
    said.wait_for()
    text = lab.read(said)
    places = [text.index(word) for word in ("given", "expected", "came", "behaves like", "lab.hint('gemm_flops')")]
    assert places == sorted(places)
    assert "Traceback" not in text
    lab.screenshot("wrong")

    lab.write_answer("def gemm_flops", "def gemm_flops(m, n, k):\n    return 2 * m * n * k")
    page.get_by_text(re.compile("✓ gemm_flops: right on all")).wait_for()
    lab.screenshot("right")
    assert lab.toasts() == []


def test_the_solution_runs_and_its_pictures_move(lab: "Lab") -> None:
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    assert page.get_by_text("✓ solved").count() >= 9

    # The cell of the stepper may have left the page while it was far away: bring it back.
    stepper = page.locator(".labkit-flipbook svg").first
    stepper.scroll_into_view_if_needed()
    lab.screenshot("stepper")
    stepper.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("status").get_by_text("Output row 1, column 2 is").wait_for()
    field = page.get_by_role("spinbutton", name="kernel", exact=True).first
    field.fill("2")
    field.press("Enter")
    page.get_by_text("the im2col matrix 4 ×").first.wait_for()
    assert lab.console_errors() == []
    assert lab.toasts() == []
