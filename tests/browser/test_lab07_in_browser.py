"""Lab 07 as a learner meets it: the starter from its first gap to green, and the solution run through."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "07_zero_memory"
RUN_ALL_MS = 280_000


KV_HEADS_FORGOTTEN = """def transformer_params(
    layers, hidden, vocab, ffn, *, heads=1, kv_heads=None, positions=0, gated=False, biases=True, tied=True
):
    wide = 2 if gated else 1
    layer = 4 * hidden**2 + (wide + 1) * hidden * ffn + 2 * hidden
    if biases:
        layer += 4 * hidden + wide * ffn + 3 * hidden
    outside = vocab * hidden * (2 - tied) + positions * hidden + hidden + hidden * biases
    return layers * layer + outside"""


def test_the_starter_from_its_first_gap_to_green(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.run_all()
    page = lab.page
    red = page.get_by_text("○ transformer_params: not written yet")
    red.wait_for(timeout=RUN_ALL_MS)
    red.scroll_into_view_if_needed()
    lab.screenshot("not-written")

    lab.write_answer("def transformer_params", KV_HEADS_FORGOTTEN)
    said = page.get_by_text("✗ transformer_params:")
    said.wait_for()
    assert "behaves like *keys for every query head*" in lab.read(said)
    lab.screenshot("wrong")

    kv = "4 * hidden**2", "2 * hidden**2 * (1 + (kv_heads or heads) / heads)"
    bias = "4 * hidden + wide", "2 * hidden * (1 + (kv_heads or heads) / heads) + wide"
    whole = "return layers * layer + outside", "return int(layers * layer + outside)"
    right = KV_HEADS_FORGOTTEN
    for old, new in (kv, bias, whole):
        right = right.replace(old, new)
    lab.write_answer("def transformer_params", right)
    page.get_by_text(re.compile("✓ transformer_params: right on all")).wait_for()
    assert lab.toasts() == []


def test_the_solution_runs_and_its_pictures_move(lab: "Lab") -> None:
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    assert page.get_by_text("✓ solved").count() >= 9

    source = page.get_by_role("combobox", name="source", exact=True)
    source.scroll_into_view_if_needed()
    source.select_option("deepspeed")
    page.get_by_text("prints GiB and calls them GB").first.wait_for()
    source.scroll_into_view_if_needed()
    lab.screenshot("bars")

    micro_batches = page.get_by_role("spinbutton", name="micro-batches", exact=True)
    micro_batches.scroll_into_view_if_needed()
    micro_batches.fill("3")
    micro_batches.press("Enter")
    page.get_by_text("6 all-gathers of parameters, 3 reduce-scatters of gradients").first.wait_for()
    micro_batches.scroll_into_view_if_needed()
    lab.screenshot("timeline")
    assert lab.console_errors() == []
    assert lab.toasts() == []


def test_the_pictures_of_zero_read_on_a_dark_theme(lab: "Lab") -> None:
    lab.open_notebook(
        [
            "from labkit.widgets.zero_bars import zero_bars\nzero_bars()",
            "from labkit.widgets.zero_timeline import zero_timeline\nzero_timeline()",
        ]
    )
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    lab.page.get_by_text("Each rank sends 135 elements").first.wait_for()
    lab.screenshot()
    assert lab.errors() == []
    assert lab.console_errors() == []
