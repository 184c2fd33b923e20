"""The bars are the learner's function's; the oracles are the ZeRO paper's Table 1 and the calculators' own figures."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from labkit.widgets import zero_bars as module
from labkit.widgets.palette import PAPER, style
from labkit.widgets.zero_bars import count_rows, zero_bars
from labkit.zero import ASSUMPTIONS, state_bytes


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that a picture draws."""
    figures: list[Figure] = []

    def keep(**size: float) -> Figure:
        figures.append(module_new_figure(**size))
        return figures[-1]

    module_new_figure = module.new_figure
    monkeypatch.setattr(module, "new_figure", keep)
    return figures


def bars(figure: Figure) -> dict[int, float]:
    """GB of each stage: the widths of its bars, added up."""
    widths: dict[int, float] = {}
    for patch in figure.axes[0].patches:
        stage = round(patch.get_y() + patch.get_height() / 2)  # type: ignore[attr-defined]
        widths[stage] = widths.get(stage, 0.0) + patch.get_width()  # type: ignore[attr-defined]
    return widths


def test_the_papers_story(drawn: list[Figure]) -> None:
    made = zero_bars()
    assert bars(drawn[-1]) == pytest.approx({0: 120, 1: 31.40625, 2: 16.640625, 3: 1.875})
    assert "stage 0: 120.00 GB, stage 1: 31.41 GB, stage 2: 16.64 GB, stage 3: 1.88 GB" in made.sentence


@pytest.mark.parametrize(
    ("source", "gigabytes"), [("megatron", 46.41), ("llm-analysis", 46.41), ("ultra-scale", 31.41)]
)
def test_the_switch_gives_what_each_source_answers_for_stage_1(source: str, gigabytes: float) -> None:
    made = zero_bars()
    made.set(source=source)
    assert f"stage 1: {gigabytes} GB" in made.sentence
    assert ASSUMPTIONS[source].source in made.sentence


def test_stages_that_a_source_does_not_offer_are_marked_by_more_than_colour(drawn: list[Figure]) -> None:
    made = zero_bars()
    made.set(source="deepspeed")
    hatched = [patch for patch in drawn[-1].axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 2 * 3
    said = [text.get_text() for text in drawn[-1].axes[0].texts]
    assert sum("(not offered)" in text for text in said) == 2
    assert "Stages that this source does not offer are hatched" in made.sentence
    assert "The largest layer, which it adds at stage 3, is not drawn." in made.sentence


def test_the_bars_are_the_learners(drawn: list[Figure]) -> None:
    calls: list[int] = []

    def mine(num_params, world_size, stage, bytes_per_param):
        calls.append(stage)
        return float(state_bytes(num_params, world_size, stage, bytes_per_param))

    made = zero_bars(mine)
    assert set(calls) == {0, 1, 2, 3}
    assert "Drawn with labkit's" not in made.sentence
    assert bars(drawn[-1])[1] == pytest.approx(31.40625)


def unfinished(*_: object) -> None:
    raise NotImplementedError("state_bytes: write this exercise")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (unfinished, "your state_bytes is not written yet"),
        (lambda num_params, world_size, stage, b: num_params * sum(b), "your state_bytes answers otherwise at stage 1"),
        (lambda *_: None, "your state_bytes answers otherwise at stage 0"),
        (lambda *_: 1 / 0, "your state_bytes raises ZeroDivisionError at stage 0"),
    ],
)
def test_a_function_that_does_not_pass_is_not_drawn(drawn: list[Figure], wrong: object, said: str) -> None:
    made = zero_bars(wrong)  # type: ignore[arg-type]
    assert made.sentence.endswith(f"Drawn with labkit's state_bytes: {said}.")
    assert bars(drawn[-1])[1] == pytest.approx(31.40625)


def test_the_parts_add_up_for_every_source() -> None:
    for assumption in ASSUMPTIONS.values():
        for stage, states in count_rows(state_bytes, 1_000_003, 7, assumption).by_stage.items():
            assert states.total == state_bytes(1_000_003, 7, stage, assumption.triple(stage))


def test_other_sizes(drawn: list[Figure]) -> None:
    made = zero_bars()
    made.set(billions=0.5, ranks=1)
    assert made.sentence.startswith("0.5 billion parameters on 1 rank, one of them: stage 0: 8.00 GB")
    assert bars(drawn[-1]) == pytest.approx(dict.fromkeys(range(4), 8.0))
    assert not drawn[-1].axes[0].lines  # the line of a GPU far to the right is left out
    with pytest.raises(ValueError, match="ranks is a whole number from 1 to 4096"):
        made.set(ranks=0)


def test_every_text_lies_in_the_picture(drawn: list[Figure]) -> None:
    made = zero_bars()
    for source in ASSUMPTIONS:
        made.set(source=source)
        figure = drawn[-1]
        with style():
            FigureCanvasAgg(figure).draw()
            boxes = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
        assert boxes
        for text, box in boxes.items():
            assert box.x0 >= figure.bbox.x0 - 1
            assert box.x1 <= figure.bbox.x1 + 1, (source, text)


@pytest.mark.parametrize("source", ["deepspeed", "no-master-copy"])
def test_a_word_stands_inside_its_bar_and_no_line_crosses_a_number(drawn: list[Figure], source: str) -> None:
    zero_bars(state_bytes).set(source=source)
    with style():
        axes, renderer = drawn[-1].axes[0], FigureCanvasAgg(drawn[-1]).get_renderer()
        drawn[-1].draw(renderer)
        boxes = [patch.get_window_extent(renderer) for patch in axes.patches]
        words = [text for text in axes.texts if text.get_text() in ("params", *(kind for kind, _ in module.KINDS))]
        for word in words:
            box = word.get_window_extent(renderer)
            x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
            (around,) = (each for each in boxes if each.x0 <= x <= each.x1 and each.y0 <= y <= each.y1)
            assert around.x0 <= box.x0
            assert box.x1 <= around.x1
    assert len({text.get_text() for text in words}) == 3  # every colour has a word somewhere
    totals = [text for text in axes.texts if " GB" in text.get_text() and "GPU" not in text.get_text()]
    assert [text.get_bbox_patch().get_facecolor() for text in totals] == [to_rgba(PAPER)] * 4
