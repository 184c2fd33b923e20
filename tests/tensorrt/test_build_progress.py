"""Progress grows from 0 to 1, arrives in the caller's thread, and is where a build can be stopped."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labkit.tensorrt as lt
from labkit.tensorrt.progress import PhaseTree


def test_a_build_reports_from_0_to_1_in_the_callers_thread(net, profile):
    moments, threads = [], set()

    def note(moment):
        moments.append(moment)
        threads.add(threading.get_ident())

    lt.build_plan(net, profile, on_progress=note)
    fractions = [moment.fraction for moment in moments]
    assert len(moments) > 20
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 10  # a bar that moves
    assert threads == {threading.get_ident()}


class Enough(Exception):
    pass


@pytest.mark.parametrize("stop", [Enough, KeyboardInterrupt])
def test_what_the_callback_raises_ends_the_build(net, profile, stop):
    plan = lt.build_plan(net, profile)
    moments = []

    def interrupt(moment):
        moments.append(moment)
        raise stop

    with pytest.raises(stop):
        lt.build_plan(net, profile, on_progress=interrupt)
    assert len(moments) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "labkit-build"]
    assert lt.build_plan(net, profile) == plan  # nothing is left of the interrupted one


# A phase is the number of its steps, and for each step the phases inside it.
phases = st.recursive(
    st.lists(st.just([]), max_size=4), lambda inner: st.lists(st.lists(inner, max_size=2), max_size=4), max_leaves=20
)


@settings(deadline=None)
@given(phases)
def test_the_share_only_grows_and_ends_at_1(steps):
    tree, fractions, names = PhaseTree(), [], iter(range(10**6))

    def play(parent, steps):
        name = f"phase {next(names)}"
        fractions.append(tree.start(name, parent, len(steps)).fraction)
        for number, inner in enumerate(steps):
            for phase in inner:
                play(name, phase)
            fractions.append(tree.step(name, number).fraction)
        fractions.append(tree.finish(name).fraction)

    play(None, steps)
    assert fractions == sorted(fractions)
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert fractions[-1] == 1


def test_a_phase_inside_counts_as_part_of_its_step():
    tree = PhaseTree()
    tree.start("all", None, 2)
    tree.start("first half", "all", 4)
    assert tree.step("first half", 0).fraction == 1 / 8
    assert tree.step("first half", 3).fraction == 1 / 2
    tree.finish("first half")
    assert tree.step("all", 0).fraction == 1 / 2


def test_a_phase_may_end_after_its_parent():
    """TensorRT-RTX ends "Determining refit engines" after the last step of the phase around it."""
    tree = PhaseTree()
    tree.start("outer", None, 1)
    tree.start("inner", "outer", 2)
    tree.step("outer", 0)
    tree.finish("outer")
    assert tree.finish("inner").fraction == 1
