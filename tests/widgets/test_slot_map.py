"""The slot map: every cell, counter and broken rule comes from the event log."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.kv_cache import GENERATIONS, TokenAllocator, TokenTable, play, pool_counters, pool_states
from labkit.kv_cache.event_log import Log
from labkit.widgets.palette import color, request_color
from labkit.widgets.slot_map import MAX_CALLS, MAX_SLOTS, draw_slot_map, slot_map, slot_map_book
from labkit.widgets.storage_map import REQUESTS, SIZE, play_requests, storage_map

SCRIPT: list[tuple[Any, ...]] = [
    ("alloc", "a", 3),
    ("alloc", "b", 2),
    ("alloc", "c", 9),
    ("free", "a"),
    ("alloc_contiguous", "d", 4),
]


def log() -> Log:
    return play(TokenAllocator(8), SCRIPT)


def texts(book: Any, frame: int, size: int = 8) -> list[str]:
    """What stands in each slot of a frame; empty for a free one."""
    lit = book.frames[frame].lit
    return [lit[slot].text if slot in lit else "" for slot in range(size)]


def test_cells_follow_the_calls() -> None:
    book = slot_map_book(log())
    assert len(book.frames) == len(SCRIPT) + 1
    assert texts(book, 0) == [""] * 8
    assert texts(book, 1) == ["+a"] * 3 + [""] * 5
    assert texts(book, 2) == ["a"] * 3 + ["+b"] * 2 + [""] * 3
    assert texts(book, 3) == ["a"] * 3 + ["b"] * 2 + [""] * 3  # refused: nothing changed
    assert texts(book, 4) == ["−a"] * 3 + ["b"] * 2 + [""] * 3
    assert texts(book, 5) == [""] * 3 + ["b"] * 2 + [""] * 3


def test_colours_are_those_of_requests_in_the_whole_course() -> None:
    book = slot_map_book(log())
    assert color(book.frames[2].lit[0].quantity) == request_color(0)
    assert color(book.frames[2].lit[3].quantity) == request_color(1)


def test_sentences_say_call_answer_and_counters() -> None:
    book = slot_map_book(log())
    assert [frame.sentence for frame in book.frames] == [
        "Before the first call: 8 of 8 slots are free, the longest free run is 8.",
        "Call 1 of 5, alloc(3) takes 0–2. 5 of 8 slots are free, the longest free run is 5.",
        "Call 2 of 5, alloc(2) takes 3–4. 3 of 8 slots are free, the longest free run is 3.",
        "Call 3 of 5, alloc(9) is refused with None. 3 of 8 slots are free, the longest free run is 3.",
        "Call 4 of 5, free(0–2) gives back 3. 6 of 8 slots are free, the longest free run is 3 (fragmentation 50%).",
        "Call 5 of 5, alloc_contiguous(4) is refused with None. 6 of 8 slots are free, the longest free run is 3"
        " (fragmentation 50%).",
    ]
    assert book.point == "5 calls on 8 slots, 2 of them refused."


CALLS = st.lists(
    st.tuples(st.sampled_from(["alloc", "alloc_contiguous"]), st.sampled_from("abcdef"), st.integers(0, 9))
    | st.tuples(st.just("free"), st.sampled_from("abcdef"))
    | st.tuples(st.just("free"), st.lists(st.integers(-2, 14), max_size=3)),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 13), CALLS, st.sampled_from([TokenAllocator, *GENERATIONS.values()]))
def test_map_and_counters_agree_with_the_log_whatever_is_played(size: int, calls: Any, make: Any) -> None:
    played = play(make(size), calls, size)
    book, states, counters = slot_map_book(played), pool_states(played), pool_counters(played)
    json.dumps(book.as_traits())
    for number, frame in enumerate(book.frames):
        held = {slot for slot in range(size) if slot in frame.lit and frame.lit[slot].quantity != "free"}
        assert held == {slot for slot in range(size) if states[number][slot] >= 0}
        free, run = counters["num_free"][number], counters["longest_free_run"][number]
        assert (
            f"{free} of {size} slots {'is' if free == 1 else 'are'} free, the longest free run is {run}"
            in frame.sentence
        )


def test_a_broken_rule_is_told_from_its_call_on() -> None:
    broken = play(GENERATIONS[3](6), [("alloc", "a", 2), ("alloc", "b", 2), ("free", "a"), ("alloc", "c", 1)], 6)
    sentences = [frame.sentence for frame in slot_map_book(broken).frames]
    assert not any("✗" in sentence for sentence in sentences[:3])
    assert "✗ Broken here: aliasing (what b was given earlier reads [0, 1] now" in sentences[3]
    assert "✗ Broken since call 3: aliasing" in sentences[4]


def test_a_slot_with_two_holders_shows_both() -> None:
    twice = [("alloc", "a", 2), ("free", "a"), ("free", "a"), ("alloc", "b", 4), ("alloc", "c", 2)]
    book = slot_map_book(play(GENERATIONS[1](4), twice, 4))
    assert texts(book, 4, 4) == ["+b"] * 4
    shared = slot_map_book(
        play(GENERATIONS[3](4), [("alloc", "z", 2), *twice[:3], ("alloc", "b", 2), ("alloc", "c", 2)], 4)
    )
    assert "bc" in texts(shared, 6, 4)


def test_an_exception_is_told_and_its_call_is_hatched() -> None:
    book = slot_map_book(play(TokenAllocator(4), [("alloc", "a", 2), ("free", "a"), ("free", "a")]))
    assert "Call 3 of 3, free(0–1) raises FreeError." in book.frames[3].sentence
    assert [cell.hatched for cell in book.cells[4:]] == [False, False, True]


def test_the_number_above_the_map_is_that_of_the_sentence() -> None:
    """`Frame 9 of 9` stood above `Call 8 of 8`."""
    book = slot_map_book(log())
    traits = book.as_traits()
    assert (traits["step"], traits["count_from"]) == ("Call", 0)
    last = traits["count_from"] + len(book.frames) - 1
    assert book.frames[-1].sentence.startswith(f"{traits['step']} {last} of {last}, ")


def test_a_call_that_is_not_written_yet_is_told_and_counted_as_such() -> None:
    class Stub(TokenAllocator):
        def free(self, indices: Any) -> None:
            raise NotImplementedError("write this exercise")

    book = slot_map_book(play(Stub(8), SCRIPT))
    assert "Call 4 of 5, free(0–2) is not written yet." in book.frames[4].sentence
    assert "Broken" not in book.frames[5].sentence
    assert book.point == "5 calls on 8 slots, 2 of them refused, 1 not written yet."
    assert [cell.hatched for cell in book.cells[8:]] == [False, False, True, False, True]
    assert book.cells[8 + 3].text == "?"


def test_long_names_become_letters() -> None:
    book = slot_map_book(play(TokenAllocator(4), [("alloc", "the first", 1), ("alloc", "the second", 2)]))
    assert texts(book, 2, 4) == ["A", "+B", "+B", ""]


def test_slots_that_are_reserved_and_empty_are_grey() -> None:
    book = storage_map().book
    frame = book.frames[book.first]
    grey = [slot for slot in range(SIZE) if slot in frame.lit and frame.lit[slot].quantity == "wasted"]
    assert f"{len(grey)} slots reserved and empty" in frame.sentence
    assert "0 of 48 slots are free" in frame.sentence


def test_one_of_several_logs_is_chosen() -> None:
    flip = slot_map({"first": log(), "second": play(TokenAllocator(4), [("alloc", "a", 1)])}, name="two", first=1)
    assert flip.sentence.startswith("Call 1 of 5, alloc(3) takes 0–2")
    flip.set(pool="second")
    assert flip.sentence == "Call 1 of 1, alloc(1) takes 0. 3 of 4 slots are free, the longest free run is 3."
    flip.go(0)
    assert flip.sentence.startswith("Before the first call: 4 of 4")


def test_the_map_stands_after_the_last_call_unless_told_otherwise() -> None:
    assert slot_map(log()).frame == 5
    assert slot_map(log(), first=0).frame == 0
    assert slot_map(log(), first=-2).frame == 4


def test_the_still_picture_is_the_same_frame() -> None:
    figure, sentence = draw_slot_map(log(), call=2)
    assert sentence == slot_map_book(log()).frames[2].sentence
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown.count("+b") == 2
    assert shown.count("a") == 3 + 1  # three slots, and the cell of its call


def test_an_empty_log_is_a_pool_before_its_first_call() -> None:
    book = slot_map_book(play(TokenAllocator(3), []))
    assert len(book.frames) == 1
    assert len(book.cells) == 3


@pytest.mark.parametrize(("size", "num_calls"), [(MAX_SLOTS + 1, 1), (0, 0), (4, MAX_CALLS + 1)])
def test_what_cannot_be_told_apart_is_refused(size: int, num_calls: int) -> None:
    big = play(TokenAllocator(size), [("alloc", "a", 0)] * num_calls)
    with pytest.raises(ValueError, match="a slot map shows up to 256 slots and 240 calls; this log has"):
        slot_map_book(big)


def test_no_logs_are_refused() -> None:
    with pytest.raises(TypeError, match=r"takes the log that `play` gives, or \{name: log\}; got int"):
        slot_map(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs at least one log"):
        slot_map({})


# --- the same requests under three schemes ----------------------------------------------------------------


class Learners:
    """A table of a learner's: the four calls, and no counts."""

    def __init__(self, max_requests: int, max_len: int, allocator: Any) -> None:
        self._table = TokenTable(max_requests, max_len, allocator)
        for name in ("start", "append", "finish", "slots"):
            setattr(self, name, getattr(self._table, name))


def test_the_three_schemes_serve_the_same_requests() -> None:
    flip = storage_map(Learners, TokenAllocator)
    num_refused = []
    for reserve in ("the maximum, 16", "blocks of 4", "token by token"):
        flip.set(pool=reserve)
        assert flip.book.frames[-1].sentence.endswith("48 of 48 slots are free, the longest free run is 48.")
        num_refused.append(sum("is refused" in frame.sentence for frame in flip.book.frames))
    assert num_refused[0] > 0
    assert num_refused[1:] == [0, 0]
    assert "reserved and empty" not in flip.sentence


def test_tokens_are_counted_as_they_come() -> None:
    played = play_requests(TokenTable(8, 16, TokenAllocator(SIZE)), SIZE, REQUESTS)
    taken = sum(len(slots) for event in played["events"] for _, slots in event["taken"])
    assert taken == sum(prompt + output - 1 for _, prompt, output in REQUESTS)
    assert sum(len(event["returned"]) for event in played["events"]) == taken


def test_a_table_that_refuses_a_step_is_told_so() -> None:
    class Refuses(TokenTable):
        def append(self, rows: Any) -> bool:
            return False

    with pytest.raises(ValueError, match="is refused, although all requests fit"):
        storage_map(Refuses)
