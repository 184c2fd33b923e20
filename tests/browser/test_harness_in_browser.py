"""The harness sees what it is there to see: a test on it that cannot fail would prove nothing about the labs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Lab

WRONG = [
    "1 / 0",
    "import sys; print('careful', file=sys.stderr)",
    "from IPython.display import HTML; HTML('<img src=\"https://labkit.invalid/pixel.png\">')",
]


def test_errors_foreign_requests_toasts_and_script_errors_are_seen(lab: "Lab") -> None:
    lab.open_notebook([WRONG[0]])
    lab.run_all()
    lab.page.get_by_text("ZeroDivisionError: division by zero").wait_for()
    assert len(lab.errors()) == 1

    lab.open_notebook(WRONG[1:])
    lab.run_all()
    assert [error.strip() for error in lab.errors()] == ["careful"]
    assert [text.strip() for text in lab.cell_outputs_text()] == ["careful", ""]
    assert set(lab.foreign_requests()) == {"https://labkit.invalid/pixel.png"}

    assert lab.toasts() == []
    lab.command("apputils:notify", message="News!", options={"autoClose": 5000})
    lab.page.locator(".Toastify__toast").wait_for()
    assert "News!" in lab.toasts()[0]

    assert lab.console_errors() == []
    lab.page.evaluate("() => { setTimeout(() => undefined.lit) }")
    lab.page.wait_for_timeout(100)
    assert len(lab.console_errors()) == 1

    lab.page.goto("about:blank")
    lab.requests.clear()  # or the fixture fails this test, as it should
