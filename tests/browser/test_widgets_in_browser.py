"""The two kinds of picture in a real JupyterLab: driven by keyboard, named, offline, and readable in the dark."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

PICTURE = """
from labkit.widgets.controls import Choice, Whole
from labkit.widgets.palette import color, new_figure
from labkit.widgets.picture import picture

def draw(ranks, stage):
    num_bytes = (16, 4, 2, 0)[stage] + (0, 12, 14, 16)[stage] / ranks
    if ranks == 13:
        raise ValueError("thirteen ranks bring bad luck")
    figure = new_figure(height=1.6)
    axes = figure.subplots()
    axes.barh(["bytes per parameter"], [num_bytes], color=color("weights"))
    axes.set_xlim(0, 16)
    return figure, f"Stage {stage} on {ranks} ranks: {num_bytes:.2f} bytes per parameter."

picture("bytes", draw, ranks=Whole(8, low=1, high=64), stage=Choice(1, (0, 1, 2, 3)))
"""

STEPPER = """
from labkit.widgets.im2col_stepper import im2col_stepper
im2col_stepper()
"""

# A new book and its frame travel in one message, in the order of a Python set. This order lost the message once.
FRAME_FIRST = """
book = im2col_stepper()
send = book.stage.send_state
book.stage.send_state = lambda key=None: send(sorted(key) if isinstance(key, set) else key)
book
"""

ROOFLINE = """
from labkit.widgets.roofline import gemm_roofline
gemm_roofline(peak_flops=100e9, bandwidth_bytes_per_s=20e9)
"""


def picture_source(lab: "Lab") -> str:
    source = lab.page.locator(".jp-RenderedImage img").first.get_attribute("src")
    assert source
    return source


def type_into(lab: "Lab", name: str, text: str) -> None:
    field = lab.page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(text)
    field.press("Enter")


def assert_clean(lab: "Lab") -> None:
    assert lab.errors() == []
    assert lab.console_errors() == []
    assert lab.toasts() == []
    assert lab.foreign_requests() == []


def test_picture_follows_its_controls_from_the_keyboard(lab: "Lab") -> None:
    lab.open_notebook([PICTURE])
    lab.run_all()
    page = lab.page
    page.get_by_text("Stage 1 on 8 ranks: 5.50 bytes per parameter.").wait_for()
    lab.screenshot("start")
    before = picture_source(lab)

    type_into(lab, "ranks", "2")
    page.get_by_text("Stage 1 on 2 ranks: 10.00 bytes").wait_for()
    assert picture_source(lab) != before

    page.get_by_role("combobox", name="stage").select_option("3")
    page.get_by_text("Stage 3 on 2 ranks: 8.00 bytes").wait_for()

    type_into(lab, "ranks", "13")  # an exception in a handler is for the learner to see, not for a log
    page.get_by_role("alert").get_by_text("ValueError: thirteen ranks bring bad luck").wait_for()

    page.get_by_role("button", name="Reset").press("Enter")
    page.get_by_text("Stage 1 on 8 ranks: 5.50 bytes").wait_for()
    assert picture_source(lab) == before
    assert_clean(lab)


def test_stepper_steps_by_keyboard(lab: "Lab") -> None:
    lab.open_notebook([STEPPER.replace("\nim2col_stepper()", FRAME_FIRST)])
    lab.run_all()
    page = lab.page
    drawing = page.get_by_role("img", name=re.compile("im2col, one output position at a time. Output row 1, column 1"))
    drawing.wait_for()
    lab.screenshot("start")
    assert lit_marks(lab) == list("abcdefghi") * 2

    svg = page.locator(".labkit-flipbook svg")
    svg.focus()
    for key, row, column in (
        ("ArrowRight", 1, 2),
        ("ArrowDown", 2, 2),
        ("ArrowLeft", 2, 1),
        ("ArrowUp", 1, 1),
        ("End", 4, 5),
        ("Home", 0, 0),
    ):
        page.keyboard.press(key)
        page.get_by_role("status").get_by_text(f"Output row {row}, column {column} is").wait_for()
    assert page.evaluate("document.activeElement.tagName") == "svg"  # JupyterLab did not take the arrows

    page.get_by_role("button", name="Next").press("Enter")
    page.get_by_role("status").get_by_text("Output row 0, column 1 is").wait_for()
    position = page.get_by_role("spinbutton", name=re.compile("Output position"))
    position.fill("30")
    position.press("Enter")
    page.get_by_role("status").get_by_text("Output row 4, column 5 is").wait_for()

    type_into(lab, "kernel", "2")
    page.get_by_text("(120 bytes as float32), the im2col matrix 4 × 42 = 168 (672 bytes)").wait_for()
    assert lit_marks(lab) == list("abcd") * 2
    lab.screenshot("kernel-2")
    type_into(lab, "padding", "0")
    type_into(lab, "kernel", "4")
    type_into(lab, "dilation", "3")  # spans ten pixels of five
    page.get_by_role("alert").get_by_text("the kernel is larger than the padded input").wait_for()
    page.get_by_role("button", name="Reset").press("Enter")
    drawing.wait_for()
    assert_clean(lab)


def test_pictures_read_on_both_themes(lab: "Lab") -> None:
    lab.open_notebook([STEPPER, ROOFLINE])
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    page = lab.page
    page.locator(".labkit-flipbook svg").wait_for()
    page.get_by_text("bound by memory: at most").wait_for()
    lab.screenshot("stepper")
    assert_readable(lab)
    page.locator(".jp-RenderedImage").scroll_into_view_if_needed()
    lab.screenshot("roofline")
    lab.use_theme("JupyterLab Light")  # the next test has the same settings
    page.wait_for_timeout(200)  # colours move for 120 ms
    assert_readable(lab)
    assert_clean(lab)


def assert_readable(lab: "Lab") -> None:
    texts = lab.page.evaluate(CONTRASTS)
    assert len(texts) > 300
    assert [text for text in texts if text["contrast"] < 4.5] == []


def lit_marks(lab: "Lab") -> list[str]:
    """The letters on the cells that are lit, in the order of the page."""
    marks: list[str] = lab.page.locator(".labkit-lit .labkit-mark").all_text_contents()
    return [mark for mark in marks if mark]


# The contrast (WCAG 2.2) of each text of a flipbook with what lies behind it: a cell's fill over the page's colour.
CONTRASTS = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return {rgb: [r, g, b], a};
  };
  const over = (top, a, below) => top.map((channel, at) => a * channel + (1 - a) * below[at]);
  const luminance = (rgb) => rgb
    .map((channel) => channel / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const {rgb, a} = parse(getComputedStyle(at).backgroundColor);
      if (a > 0.99) return rgb;
    }
    return [255, 255, 255];
  };
  const book = document.querySelector(".labkit-flipbook");
  const found = [];
  for (const text of book.querySelectorAll("svg text, button, input, label, p")) {
    if (!text.textContent && !text.value) continue;
    const style = getComputedStyle(text);
    let ground = behind(text);
    const fill = text.closest("g")?.querySelector(".labkit-fill");
    if (fill) {
      const cell = getComputedStyle(fill);
      ground = over(parse(cell.fill).rgb, Number(cell.fillOpacity), ground);
    }
    const ink = parse(text instanceof SVGElement ? style.fill : style.color).rgb;
    const [dark, light] = [luminance(ink), luminance(ground)].sort((a, b) => a - b);
    found.push({text: text.textContent, contrast: (light + 0.05) / (dark + 0.05)});
  }
  return found;
}"""


def test_everything_in_a_picture_has_a_name(lab: "Lab") -> None:
    lab.open_notebook([PICTURE, STEPPER])
    lab.run_all()
    lab.page.locator(".labkit-flipbook svg").wait_for()
    outputs = lab.page.locator(".jp-Cell-outputArea")
    for role in ("spinbutton", "combobox", "button"):
        everything, named = (outputs.get_by_role(role), outputs.get_by_role(role, name=re.compile(r"\w")))
        assert (role, named.count()) == (role, everything.count() or "none found")
    assert_clean(lab)
