"""The table of old calls, held against the installed module: what is said to be gone is gone, the new names exist."""

import pytest

import labkit.tensorrt as lt

trt = pytest.importorskip("tensorrt_rtx", reason="the builder is not installed on this platform")


def exists(name):
    where = trt
    for part in name.split("."):
        if not hasattr(where, part):
            return False
        where = getattr(where, part)
    return True


@pytest.mark.parametrize("call", lt.OLD_CALLS, ids=lambda call: call.old[:40])
def test_old_names_are_gone_and_new_names_are_here(call):
    assert [name for name in call.gone if exists(name)] == []
    assert [name for name in call.here if not exists(name)] == []


def test_the_table_is_worth_the_name():
    assert len(lt.OLD_CALLS) >= 10
    assert sum(bool(call.gone) for call in lt.OLD_CALLS) >= 8
    assert len({call.old for call in lt.OLD_CALLS}) == len(lt.OLD_CALLS)
    assert all(call.new and call.why for call in lt.OLD_CALLS)


def test_the_notes_lines_are_in_it():
    """What the notes that the course grew from call, and what no TensorRT has any more."""
    old = " ".join(call.old for call in lt.OLD_CALLS)
    for name in (
        "EXPLICIT_BATCH",
        "FP16",
        "max_workspace_size",
        "build_engine",
        "execute_v2",
        "--explicitBatch",
        "--deploy",
    ):
        assert name in old
