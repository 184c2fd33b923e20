"""Lab 06 as a learner meets it: a wrong order named, the staircase moved from the keyboard, the live panel redrawn."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.conftest import Lab

LAB = "06_efficient_router"
RUN_ALL_MS = 120_000

UNSORTED = """
def peak_tokens(requests):
    held = peak = 0
    for k, (run, left) in enumerate(requests, start=1):
        held += run
        peak = max(peak, k * left + held)
    return peak
"""


def type_into(lab: "Lab", name: str, text: str) -> None:
    field = lab.page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(text)
    field.press("Enter")


def show(lab: "Lab", picture: "Locator") -> None:
    """Scroll to a picture; cells that come into sight move it again, so twice."""
    for _ in range(2):
        picture.scroll_into_view_if_needed()
        lab.page.wait_for_timeout(300)


def test_the_routers_starter_from_a_wrong_order_to_green(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.run_all()
    page = lab.page
    page.get_by_text("○ peak_tokens: not written yet").wait_for(timeout=RUN_ALL_MS)

    lab.write_answer("def peak_tokens", UNSORTED)
    red = page.get_by_text("✗ peak_tokens:")
    red.wait_for()
    text = lab.read(red)
    places = [text.index(word) for word in ("given", "expected", "came", "wasteful", "order-dependent", "behaves like")]
    assert places == sorted(places)
    assert "Traceback" not in text
    assert "given peak_tokens([(1, 0), (1, 1)]), one of 584 questions" in text
    assert "Try it on this one: peak_tokens([(1, 0), (1, 1)])" in text
    red.scroll_into_view_if_needed()
    lab.screenshot("wrong")

    lab.write_answer(
        "def peak_tokens", UNSORTED.replace("(requests, start", "(sorted(requests, key=lambda q: -q[1]), start")
    )
    page.get_by_text(re.compile("✓ peak_tokens: right on all")).wait_for()
    lab.screenshot("right")
    assert lab.toasts() == []


def test_the_routers_solution_runs_and_its_pictures_move(lab: "Lab") -> None:
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    assert page.get_by_text("✓ solved").count() >= 4

    staircase = page.get_by_role("img", name=re.compile("One more request"))
    show(lab, staircase)
    lab.screenshot("staircase")
    type_into(lab, "starts at step", "1")
    page.get_by_text(
        "E = (4, 2) starts at step 1: from then on they hold at most 30 tokens of 30, exactly full."
    ).wait_for()
    staircase = page.get_by_role("img", name=re.compile("starts at step 1"))
    assert staircase.locator("polygon").count() > 4
    lab.screenshot("staircase-later")

    panel = page.get_by_role("img", name=re.compile("A router at work"))
    show(lab, panel)
    lab.screenshot("panel")
    page.get_by_text("Limits: capacity (tokens) 1,000 to 400,000, requests per second 0.1 to 100.").first.wait_for()
    type_into(lab, "capacity (tokens)", "60000")
    page.get_by_text("60,000 tokens, reserve everything: all done after").first.wait_for()
    page.get_by_role("combobox", name="policy").select_option("your can_admit")
    page.get_by_text("60,000 tokens, your can_admit: all done after").first.wait_for()
    lab.screenshot("panel-later")
    type_into(lab, "requests per second", "2")
    page.get_by_text("2 per second, 60,000 tokens").first.wait_for()
    page.get_by_role("button", name="Reset").last.press("Enter")
    page.get_by_text("40,000 tokens, reserve everything: all done after").first.wait_for()
    assert lab.console_errors() == []
    assert lab.toasts() == []


def test_the_routers_pictures_read_on_a_dark_theme(lab: "Lab") -> None:
    lab.open_notebook(
        [
            "from labkit.widgets.staircase import staircase\nstaircase()",
            "from labkit.widgets.live_router import live_router\nlive_router()",
        ]
    )
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    lab.page.get_by_role("img", name=re.compile("A router at work")).wait_for()
    lab.screenshot()
    assert lab.errors() == []
    assert lab.console_errors() == []
