"""Lab 08 as a learner does it: a loss without T² is named, the right one is green, pictures follow their controls."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "08_distillation"
RUN_ALL_MS = 240_000

SOFT_TARGETS = """
def soft_targets(logits, temperature):
    return F.softmax(logits / temperature, dim=1)
"""

WITHOUT_T2 = """
def kd_loss(student_logits, teacher_logits, labels, temperature, alpha):
    log_q = F.log_softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(log_q, p, reduction="batchmean")
    return (1 - alpha) * F.cross_entropy(student_logits, labels) + alpha * soft
"""


def type_into(lab: "Lab", name: str, text: str, which: int = 0) -> None:
    field = lab.page.get_by_role("spinbutton", name=name, exact=True).nth(which)
    field.fill(text)
    field.press("Enter")


def test_the_distillation_starter_from_a_missing_t_squared_to_green(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    page.get_by_text("○ soft_targets: not written yet").wait_for()
    lab.write_answer("def soft_targets", SOFT_TARGETS)
    page.get_by_text("✓ soft_targets: right on all").wait_for()

    lab.write_answer("def kd_loss", WITHOUT_T2)
    red = page.get_by_text("✗ kd_loss:")
    red.wait_for()
    text = red.inner_text()
    places = [text.index(word) for word in ("given", "expected", "came", "behaves like *no T²*")]
    assert places == sorted(places)
    assert "another scale than the specified one" in text
    assert "Traceback" not in text
    red.scroll_into_view_if_needed()
    lab.screenshot("wrong")

    lab.write_answer("def kd_loss", WITHOUT_T2.replace("alpha * soft", "alpha * temperature**2 * soft"))
    page.get_by_text(re.compile("✓ kd_loss: right on all")).wait_for()
    lab.screenshot("right")
    assert lab.toasts() == []


PICTURES = [
    """
import torch
from labkit import distill
from labkit.widgets.soft_targets import mixing, temperature

digits = distill.load_digits()
few, labels = digits.few(per_class=1)
teacher = distill.train_teacher(digits, schedule=distill.Schedule(epochs=2, batch_size=50))
student = distill.make_student()
logits = distill.logits_of(teacher, few)
temperature(distill.soft_targets, few, logits, labels)
""",
    "mixing(distill.kd_loss, few, distill.logits_of(student, few), logits, labels)",
    """
from labkit.widgets.gains import gains
from labkit.widgets.still import show

show(*gains({"5 labels a class": (4.0, 6.0, 5.0), "all labels": (-0.5, 0.0, 0.5)}))
""",
]


def test_the_distillation_pictures_follow_their_controls(lab: "Lab") -> None:
    lab.open_notebook(PICTURES)
    lab.page.set_default_timeout(60_000)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    page.get_by_text("An image of a 3. At T = 4 the teacher says").wait_for()
    type_into(lab, "temperature", "50")
    page.get_by_text("An image of a 3. At T = 50 the teacher says").wait_for()
    type_into(lab, "image", "7")
    page.get_by_text("An image of a 7. At T = 50 the teacher says").wait_for()
    lab.screenshot("temperature")

    page.get_by_text("An image of a 3, T = 4, alpha = 0.5: loss").wait_for()
    type_into(lab, "alpha", "1")
    page.get_by_text(re.compile(r"alpha = 1: loss .* The label pulls with a length of 0\.000")).wait_for()
    type_into(lab, "alpha", "0")
    page.get_by_text(re.compile(r"alpha = 0: loss .* the teacher with 0\.000")).wait_for()
    page.get_by_text("An image of a 3, T = 4, alpha = 0").scroll_into_view_if_needed()
    lab.screenshot("mixing")
    page.get_by_role("button", name="Reset").last.press("Enter")
    page.get_by_text("An image of a 3, T = 4, alpha = 0.5: loss").wait_for()
    page.get_by_text("all labels: +0.0 points").scroll_into_view_if_needed()
    lab.screenshot("gains")
    lab.use_theme("JupyterLab Dark")
    lab.screenshot("dark")
    page.get_by_text("An image of a 3, T = 4, alpha = 0.5: loss").scroll_into_view_if_needed()
    lab.screenshot("mixing-dark")
    lab.use_theme("JupyterLab Light")
    assert lab.console_errors() == []
    assert lab.toasts() == []
