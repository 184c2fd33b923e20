"""Lab 05 as a learner meets it: its slot map by keyboard, the starter's first gaps, the solution run through."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "05_token_attention"
RUN_ALL_MS = 150_000

MAP = """
from labkit.kv_cache import GENERATIONS, TokenAllocator, play
from labkit.widgets.slot_map import slot_map

script = [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a"), ("alloc", "c", 9)]
slot_map({"yours": play(TokenAllocator(8), script), "generation 3": play(GENERATIONS[3](8), script, 8)}, first=0)
"""


def lit_texts(lab: "Lab") -> list[str]:
    """What stands on the cells that are lit, in the order of the page."""
    texts: list[str] = lab.page.locator(".labkit-lit text:not(.labkit-mark)").all_text_contents()
    return [text for text in texts if text]


def test_the_slot_map_is_played_and_scrubbed(lab: "Lab") -> None:
    lab.open_notebook([MAP])
    lab.run_all()
    page = lab.page
    flipbook = page.locator(".labkit-flipbook")
    status = flipbook.get_by_role("status")
    status.get_by_text("Before the first call: 8 of 8 slots are free").wait_for()
    assert lit_texts(lab) == []

    flipbook.locator("svg").focus()
    page.keyboard.press("ArrowRight")
    status.get_by_text("Call 1 of 4, alloc(2) takes 0–1.").wait_for()
    assert lit_texts(lab) == ["+a", "+a", "a"]  # two slots, and the call
    page.keyboard.press("End")
    status.get_by_text("Call 4 of 4, alloc(9) is refused with None.").wait_for()

    call = flipbook.get_by_role("spinbutton", name=re.compile("Call"))
    assert call.input_value() == "4"  # the number of the sentence, and not that of a frame
    call.fill("3")
    call.press("Enter")
    status.get_by_text("Call 3 of 4, free(0–1) gives back 2.").wait_for()
    assert call.input_value() == "3"
    assert flipbook.locator("label").first.inner_text().split() == ["Call", "of", "4"]
    assert lit_texts(lab)[:4] == ["−a", "−a", "b", "b"]
    lab.screenshot("freed")
    flipbook.locator("svg").focus()
    page.keyboard.press("Home")
    flipbook.get_by_role("button", name="Play").click()
    status.get_by_text("Call 4 of 4, alloc(9) is refused with None.").wait_for()

    page.get_by_role("combobox", name="pool").select_option("generation 3")
    status.get_by_text("Before the first call").wait_for()
    for said in ("Call 1 of 4", "Call 2 of 4", "✗ Broken here: aliasing"):
        flipbook.get_by_role("button", name="Next").click()
        status.get_by_text(said).wait_for()
    lab.screenshot("aliasing")
    assert lab.errors() == []
    assert lab.console_errors() == []


def test_lab05_names_the_first_gap_and_the_first_mistake(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.run_all()
    page = lab.page
    red = page.get_by_text("○ wasted_slots: not written yet:")
    red.wait_for(timeout=RUN_ALL_MS)
    red.scroll_into_view_if_needed()
    lab.screenshot("not-written")

    stub = page.locator(".jp-Notebook .jp-CodeCell").filter(has_text="def wasted_slots").first.locator(".cm-content")
    stub.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(
        "def wasted_slots(lengths, reserve):\n"
        "    if reserve[0] == 'max':\n        return sum(reserve[1] - length for length in lengths)\n"
        "    if reserve[0] == 'block':\n        return sum(reserve[1] - length % reserve[1] for length in lengths)\n"
        "    return 0\n"
    )
    lab.command("notebook:run-cell-and-select-next")
    lab.command("notebook:run-cell-and-select-next")
    said = page.get_by_text("this behaves like *a full block wastes another*")
    said.wait_for()
    said.scroll_into_view_if_needed()
    lab.screenshot("wrong")
    assert lab.toasts() == []


def test_lab05_runs_and_its_schemes_can_be_chosen(lab: "Lab") -> None:
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    assert page.get_by_text("✓ solved").count() >= 6

    # Cells may have left the page while they were far away: bring the one with the three schemes back.
    page.get_by_role("paragraph").filter(has_text="Your table and allocator at work").scroll_into_view_if_needed()
    reserve = page.get_by_role("combobox", name="reserve")
    reserve.scroll_into_view_if_needed()
    page.get_by_text("18 tokens, 30 slots reserved and empty").first.wait_for()
    lab.screenshot("reserve-the-maximum")
    reserve.select_option("token by token")
    page.get_by_text("Call 5 of 25, start(7) takes").first.wait_for()
    lab.screenshot("token-by-token")
    assert lab.console_errors() == []
    assert lab.toasts() == []
