"""Lab 08 as a learner does it: a loss without T² is named, the right one is green, pictures follow their controls."""

import re
from typing import TYPE_CHECKING

from labkit.course.exercises import lab_spec
from labkit.course.paths import starter_path
from labkit.grading import made_up

if TYPE_CHECKING:
    from playwright.sync_api import Locator

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
    text = lab.read(red)
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


# Puts a learner's text into the cell that holds the marker, and makes it the active one; returns its number.
FILL = """([marker, text]) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const number = notebook.widgets.findIndex(
    cell => cell.model.type === "code" && cell.model.sharedModel.getSource().includes(marker));
  notebook.widgets[number].model.sharedModel.setSource(text);
  notebook.activeCellIndex = number;
  return number;
}"""

MODES_NEVER_SET = """
def train_student(student, teacher, optimizer, batches, temperature, alpha):
    losses = []
    for images, labels in batches:
        with torch.no_grad():
            teacher_logits = teacher(images)
        loss = kd_loss(student(images), teacher_logits, labels, temperature, alpha)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
"""

NOT_PAIRED = """
def paired_t(distilled, labels_only):
    from scipy import stats
    return float(stats.ttest_ind(distilled, labels_only).statistic)
"""

TWO_MISTAKES = """
def hint_loss(student_features, teacher_features, regressor):
    return F.mse_loss(regressor(student_features), teacher_features)
"""


def test_the_rest_of_the_starter_with_a_wrong_answer_first_and_then_a_right_one(lab: "Lab") -> None:
    """From the released starter to its last line: each mistake is named, and every cell behind runs."""
    lab.open_notebook(starter_path(LAB), quick=True)
    page = lab.page
    page.set_default_timeout(RUN_ALL_MS)
    right = made_up.solutions(lab_spec(LAB))

    def write(name: str, text: str) -> None:
        assert page.evaluate(FILL, [f"def {name}(", text.strip()]) > 0

    def show(found: "Locator", screenshot: str) -> None:
        for _ in range(3):  # what lies above gets its height as it comes into sight, and moves the rest
            found.evaluate("element => element.scrollIntoView({block: 'center'})")
            page.wait_for_timeout(200)
        found.wait_for()
        lab.screenshot(screenshot)

    write("soft_targets", right["soft_targets"])
    write("kd_loss", right["kd_loss"])
    write("train_student", MODES_NEVER_SET)
    lab.run_all()
    steps = [
        ("train_student", "*modes never set*", ("paired_t", NOT_PAIRED)),
        ("paired_t", "*not paired*", ("hint_loss", TWO_MISTAKES)),
        ("hint_loss", "two mistakes at once, *mean over the features too*", None),
    ]
    for name, said, following in steps:
        red = page.get_by_text(f"✗ {name}:")
        red.wait_for(state="attached")  # what is out of sight is not laid out, and so not visible
        assert said in lab.read(red)
        show(red, f"wrong-{name}")
        if following:
            write(*following)
        write(name, right[name])
        lab.command("notebook:run-all-below")
    page.get_by_text("✓ solved").nth(4).wait_for(state="attached")
    assert lab.errors() == []
    for number, text in enumerate(("8 settings, one student a seed each: done in", "hints, then 5 settings: done in")):
        show(page.get_by_text(text), f"bar-{number}")
    show(page.get_by_text("times as fast, 512 at once"), "deploy")
    assert lab.console_errors() == []
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
