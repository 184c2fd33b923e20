"""Netron in the notebook, in a real JupyterLab: drawn, quiet, offline, with no date of expiry, also under a base URL.

When one of these fails after an update of Netron, its page has changed: see tests/widgets/test_netron_viewer.py.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

MODEL = """
import numpy as np
import onnx
from labkit.onnx_file import save_model
from labkit.widgets.netron_viewer import compare_models, view_model

net = onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 20]> net (float[b, 512] x) => (float[b, 512] y)'
                              '{ a = Mul(x, scale) b = Identity(a) y = Relu(b) }')
net.graph.initializer.append(onnx.numpy_helper.from_array(np.full(512, 0.625, np.float32), "scale"))
"""

# The browser's clock, 400 days on: Netron's page counts 180 from the day it was built. The year is left where it can be
# read, because the page forbids `eval`, which is how Playwright evaluates.
LATER = """
const Now = Date;
const later = () => Now.now() + 400 * 24 * 60 * 60 * 1000;
Date = class extends Now {
  constructor(...given) { given.length ? super(...given) : super(later()); }
  static now() { return later(); }
};
const clock = () => { document.body.dataset.clock = new Date() - new Now() > 3e10 ? "later" : "now"; };
addEventListener("DOMContentLoaded", clock);
"""


def frame(lab: "Lab", name: str) -> Any:
    """The inside of the frame, once Netron has drawn its graph (nodes are in the page before the splash goes)."""
    lab.page.locator(f"iframe[title='Netron: {name}']").scroll_into_view_if_needed()  # it loads when it is seen
    inside = lab.page.frame_locator(f"iframe[title='Netron: {name}']")
    inside.locator("body.default").wait_for()
    return inside


def assert_clean(lab: "Lab") -> None:
    assert lab.errors() == []
    assert lab.toasts() == []
    assert lab.foreign_requests() == []


def test_a_model_is_drawn_without_a_dialog_and_a_node_shows_what_it_holds(lab: "Lab") -> None:
    lab.open_notebook([MODEL + "view_model(net)"])
    lab.run_all()
    inside = frame(lab, "net")
    for op in ("Mul", "Identity", "Relu"):
        inside.get_by_text(op, exact=True).wait_for()
    assert not inside.locator("#message-text").is_visible()  # no consent, no "please update"
    lab.page.get_by_text("Net: 3 nodes, Identity 1, Mul 1, Relu 1.").wait_for()
    lab.page.get_by_text("MIT licence, runs on this machine only").wait_for()
    lab.screenshot("view")
    inside.get_by_text("Mul", exact=True).click()
    inside.locator("#sidebar").get_by_text("NODE PROPERTIES").wait_for()
    lab.screenshot("node")
    assert_clean(lab)


def test_it_does_not_expire_and_asks_nobody(lab: "Lab") -> None:
    lab.page.add_init_script(LATER)
    lab.open_notebook([MODEL + "view_model(net)"])
    lab.run_all()
    inside = frame(lab, "net")
    inside.get_by_text("Relu", exact=True).wait_for()
    inside.locator("body[data-clock=later]").wait_for()
    assert not inside.locator("#message-text").is_visible()
    assert_clean(lab)


def test_netrons_own_page_would_have_expired(lab: "Lab") -> None:
    """The control: without source mode the same clock stops the page, so the test above can fail."""
    stock = (
        "from labkit.widgets import netron_server\n"
        "netron_server.source_mode_page = lambda: (netron_server.netron_folder() / 'index.html').read_text()\n"
    )
    lab.page.add_init_script(LATER)
    lab.open_notebook([stock + MODEL + "view_model(net)"])
    lab.run_all()
    lab.page.locator("iframe").scroll_into_view_if_needed()
    inside = lab.page.frame_locator("iframe")
    inside.get_by_text("Please update to the newest version.").wait_for()


def test_a_comparison_shows_the_drawing_and_both_graphs(lab: "Lab") -> None:
    source = "from labkit.onnx_simplify import drop_identities\ncompare_models(net, drop_identities(net))"
    lab.open_notebook([MODEL + source])
    lab.run_all()
    frame(lab, "before").get_by_text("Identity", exact=True).wait_for()
    after = frame(lab, "after")
    after.get_by_text("Relu", exact=True).wait_for()
    assert after.get_by_text("Identity", exact=True).count() == 0
    sentence = "3 nodes before, 2 after: 1 removed (Identity 1)."
    lab.page.get_by_role("img", name=sentence).wait_for()
    lab.screenshot()
    assert_clean(lab)


BRIGHTNESS = """element => {
  const mean = color => color.match(/[0-9.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
  const page = getComputedStyle(document.querySelector(".jp-Notebook"));
  return [mean(getComputedStyle(element).color), mean(page.backgroundColor)];
}"""


def test_it_reads_on_a_dark_theme(lab: "Lab") -> None:
    lab.open_notebook([MODEL + "view_model(net)"])
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    frame(lab, "net").get_by_text("Relu", exact=True).wait_for()
    for text in ("Net: 3 nodes", "MIT licence, runs on this machine only"):
        ink, paper = lab.page.get_by_text(text).first.evaluate(BRIGHTNESS)
        assert paper < 80
        assert ink > paper + 100, f"{text!r} is hard to read: {ink:.0f} on {paper:.0f}"
    lab.screenshot()
    assert_clean(lab)
    lab.use_theme("JupyterLab Light")


def test_external_weights_can_be_read(lab: "Lab") -> None:
    lab.open_notebook([MODEL + "save_model(net, 'far.onnx', one_file_bytes=100)\nview_model('far.onnx')"])
    lab.run_all()
    inside = frame(lab, "far.onnx")
    inside.get_by_text("Mul", exact=True).click()
    sidebar = inside.locator("#sidebar")
    sidebar.get_by_text("NODE PROPERTIES").wait_for()
    sidebar.locator(".sidebar-item-value-button").last.click()
    sidebar.get_by_text("0.625").first.wait_for()
    assert_clean(lab)


def test_with_no_server_the_drawing_stands_in(lab: "Lab") -> None:
    lab.open_notebook(
        [
            MODEL + "view = view_model(net)\nfrom labkit.widgets.netron_server import viewer_server\n"
            "viewer_server().stop()\nview"
        ]
    )
    lab.run_all()
    lab.page.get_by_text("The viewer does not answer, so this is a drawing.").wait_for()
    lab.page.get_by_role("img", name="Net: 3 nodes, Identity 1, Mul 1, Relu 1.").wait_for()
    assert lab.page.locator("iframe").count() == 0
    assert lab.errors() == []


def test_without_the_proxy_the_frame_is_reached_directly(lab: "Lab") -> None:
    lab.page.route("**/proxy/**", lambda route: route.fulfill(status=404))
    lab.open_notebook([MODEL + "view_model(net)"])
    lab.run_all()
    frame(lab, "net").get_by_text("Relu", exact=True).wait_for()
    address = lab.page.locator("iframe").get_attribute("src")
    assert address
    assert "/proxy/" not in address
    assert_clean(lab)


def test_under_a_base_url_with_a_token_the_proxy_is_found(lab_under_base_url: "Lab") -> None:
    lab = lab_under_base_url
    both = "from labkit.onnx_simplify import drop_identities\ncompare_models(net, drop_identities(net))"
    lab.open_notebook([MODEL + "view_model(net)", both])  # as labs 02 and 03 show them
    lab.run_all()
    for name in ("net", "before", "after"):
        frame(lab, name).get_by_text("Relu", exact=True).wait_for()
        address = lab.page.locator(f"iframe[title='Netron: {name}']").get_attribute("src")
        assert address
        assert "/user/ana/proxy/" in address
        lab.screenshot(name)
    assert_clean(lab)
