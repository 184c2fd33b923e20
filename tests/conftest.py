"""The last lines of a run say what was tried, so that a run that tried nothing cannot look green."""

import os
from collections import Counter

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores

# A test that tries something countable says so: record_property("tried: wrong answers", 12).
TRIED = "tried: "


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of tier gpu, where there is none, are skipped and listed."""
    if item.get_closest_marker("gpu"):
        from labkit import hardware

        if hardware.tier() != "gpu":
            pytest.skip("needs an NVIDIA GPU, and there is none that torch can use")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the tests recorded, over all workers."""
    tried: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, count in report.user_properties:
            if name.startswith(TRIED):
                tried[name.removeprefix(TRIED)] += count
    tests = len(terminalreporter.getreports("passed"))
    counts = ", ".join(f"{tried[what]} {what}" for what in ("labs", "exercises", "wrong answers", "right answers"))
    terminalreporter.write_sep("-", "tried")
    terminalreporter.write_line(f"tried: {tests} tests, {counts}")
    for skipped in terminalreporter.getreports("skipped"):
        reason = skipped.longrepr[2] if isinstance(skipped.longrepr, tuple) else skipped.longrepr
        terminalreporter.write_line(f"not tried: {skipped.nodeid}: {reason}")
