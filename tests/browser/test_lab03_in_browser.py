"""Lab 03 as a learner meets it: a wrong pass named with its graphs, the solution run, both graphs in Netron."""

import re
from typing import TYPE_CHECKING

from labkit.course.paths import solution_path, starter_path

if TYPE_CHECKING:
    from tests.browser.conftest import Lab

LAB = "03_onnx_simplify"
RUN_ALL_MS = 240_000

MAIN_GRAPH_ONLY = """
def count_ops(model):
    return dict(Counter(op_name(node) for node in model.graph.node))
"""
ALL_GRAPHS = """
def count_ops(model):
    from labkit.onnx_simplify import graphs
    return dict(Counter(op_name(node) for graph in graphs(model) for node in graph.node))
"""
PICTURES = [
    """
from labkit.onnx_simplify import drop_identities
from labkit.widgets.netron_viewer import compare_models
import onnx
model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["": 20]> g (float[2] x) => (float[2] y)'
                                ' { a = Exp(x) b = Identity(a) y = Neg(b) }')
compare_models(model, drop_identities(model), names=("as exported", "yours"))
"""
]


def test_the_simplifiers_starter_from_a_wrong_count_to_green(lab: "Lab") -> None:
    lab.open_notebook(starter_path(LAB))
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    page.get_by_text("○ count_ops: not written yet").wait_for()

    lab.write_answer("def count_ops", "from labkit.onnx_simplify import op_name, subgraphs\n" + MAIN_GRAPH_ONLY)
    red = page.get_by_text("✗ count_ops:")
    red.wait_for()
    text = lab.read(red)
    places = [text.index(word) for word in ("given", "holding:", "expected", "came", "behaves like *main graph only*")]
    assert places == sorted(places)
    assert "Traceback" not in text
    red.scroll_into_view_if_needed()
    lab.screenshot("wrong")

    lab.write_answer("def count_ops", "from labkit.onnx_simplify import op_name, subgraphs\n" + ALL_GRAPHS)
    page.get_by_text(re.compile("✓ count_ops: right on all")).wait_for()
    assert lab.toasts() == []


def test_the_simplifiers_solution_runs_under_a_base_url_and_shows_both_graphs(lab_under_base_url: "Lab") -> None:
    """The whole lab as on a JupyterHub; so are labs 02 and 04, and the others without a prefix."""
    lab = lab_under_base_url
    lab.open_notebook(solution_path(LAB), quick=True)
    lab.page.set_default_timeout(RUN_ALL_MS)
    lab.run_all()
    page = lab.page
    assert lab.errors() == []
    assert lab.unfinished_cells() == []
    assert page.get_by_text("✓ solved").count() >= 4
    frames = page.locator("iframe")
    assert frames.count() == 2
    for place in (0, 1):
        frames.nth(place).scroll_into_view_if_needed()  # it loads when it is seen
        graph = page.frame_locator("iframe").nth(place)
        graph.locator("body.default").wait_for()
        graph.get_by_text("Conv", exact=True).first.wait_for()
        assert "/user/ana/proxy/" in (frames.nth(place).get_attribute("src") or "")
    lab.screenshot("graphs")
    shown = [page.frame_locator("iframe").nth(place).get_by_text("BatchNormalization", exact=True) for place in (0, 1)]
    assert [found.count() > 0 for found in shown] == [True, False]  # what the learner's fusion removed
    page.get_by_text(re.compile("nodes before, 20 after")).first.scroll_into_view_if_needed()
    lab.screenshot("change")
    page.get_by_text(re.compile("left by exporter")).first.scroll_into_view_if_needed()
    lab.screenshot("tools")
    assert lab.console_errors() == []
    assert lab.toasts() == []


def test_the_change_reads_on_a_dark_theme(lab: "Lab") -> None:
    lab.open_notebook(PICTURES)
    lab.use_theme("JupyterLab Dark")
    lab.run_all()
    lab.page.get_by_text("3 nodes before, 2 after: 1 removed (Identity 1).").first.wait_for()
    lab.screenshot()
    assert lab.errors() == []
    assert lab.console_errors() == []
