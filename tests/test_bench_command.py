"""bench: finds benchmarks by looking, prints what they return, and loses none because another one failed."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from torch.utils.flop_counter import FlopCounterMode

import labkit.benchmarks
from labkit import hardware
from labkit.benchmarks import deploy as deploy_benchmark
from labkit.benchmarks import gemm as gemm_benchmark
from labkit.benchmarks import onnx_simplify as simplify_benchmark
from labkit.cli import main
from labkit.commands.bench import benchmark_names
from labkit.hardware import Machine
from labkit.measure import compare
from labkit.onnx_simplify import Outcome, SimplifyReport
from labkit.triton_matmul import unavailable_reason

MACHINE = Machine("cpu", "Example CPU", 2, 2**30, None, "openblas", {"numpy": "2.0"}, 2e9, 1e9, 4e9, 2e9)

EXAMPLES = {
    "apples": """
from rich.table import Table

def run(quick=False):
    table = Table(title="Apples, [bold]quick[/bold]" if quick else "Apples", caption="median of 3")
    for header in ("kind", "ratio", "ratio"):
        table.add_column(header)
    table.add_row("[green]russet[/green]", "1.50", "2.5 x")
    return [table]
""",
    "broken": "def run(quick=False): raise OSError('no such orchard')",
    "halfway": """
from rich.table import Table

def run(quick=False):
    table = Table("kind", title="The first half")
    table.add_row("medlar")
    yield table
    raise OSError("no second half")
""",
    "_private": "raise AssertionError('not a benchmark')",
}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """`labkit bench` over the examples only; called with arguments, returns the result."""
    for name, source in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(labkit.benchmarks, "__path__", [str(tmp_path)])
    monkeypatch.setattr(hardware, "this_machine", lambda: MACHINE)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["bench", *arguments])

    yield invoke
    for name in EXAMPLES:
        sys.modules.pop(f"labkit.benchmarks.{name}", None)
        vars(labkit.benchmarks).pop(name, None)


def test_benchmarks_are_found_by_looking(bench) -> None:
    assert benchmark_names() == ["apples", "broken", "halfway"]


def test_a_table_is_printed_under_the_machine_it_was_measured_on(bench) -> None:
    result = bench("apples")
    assert result.exit_code == 0
    assert result.stdout.startswith("tier          cpu\n")
    for text in ("Example CPU", "Apples", "russet", "1.50", "median of 3"):
        assert text in result.stdout
    assert "[green]" not in result.stdout
    assert "benchmark apples" in result.stderr


def test_json_is_all_that_stands_on_stdout(bench) -> None:
    data = json.loads(bench("apples", "--quick", "--json").stdout)
    assert data == {
        "quick": True,
        "machine": asdict(MACHINE),
        "benchmarks": [
            {
                "name": "apples",
                "error": None,
                "tables": [
                    {
                        "title": "Apples, quick",
                        "caption": "median of 3",
                        "columns": ["kind", "ratio", "ratio"],
                        "rows": [["russet", 1.5, "2.5 x"]],
                    }
                ],
            }
        ],
    }


def test_one_that_fails_is_named_and_the_others_still_run(bench) -> None:
    result = bench("--json")
    assert result.exit_code == 1
    assert "benchmark broken could not run: OSError: no such orchard" in result.stderr
    reports = {report["name"]: report for report in json.loads(result.stdout)["benchmarks"]}
    assert reports["broken"]["error"] == "OSError: no such orchard"
    assert reports["apples"]["tables"][0]["rows"]


def test_what_was_measured_before_it_failed_is_not_lost(bench) -> None:
    result = bench("halfway")
    assert result.exit_code == 1
    assert "medlar" in result.stdout
    assert "benchmark halfway could not run: OSError: no second half" in result.stderr


def test_an_unknown_name_is_answered_with_the_names(bench) -> None:
    result = bench("pears")
    assert result.exit_code == 2
    assert "there is no benchmark pears; there are apples, broken, halfway" in result.stderr


def test_the_layers_are_compared_in_one_thread_and_the_threads_come_back() -> None:
    threads = torch.get_num_threads()
    layer = gemm_benchmark.ConvLayer("tiny", channels=2, filters=3, size=8, kernel=3, stride=2, padding=1)
    table = gemm_benchmark.layer_table((layer,), repeats=1)
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells[:2] == ["tiny", "2 -> 3, 8x8, 3x3/2"]
    assert all(float(cell) >= 0 for cell in cells[2:])
    assert "worst ratio: im2col / unfold" in str(table.caption)
    assert torch.get_num_threads() == threads


def test_the_flops_of_a_layer_are_those_that_torch_counts() -> None:
    for layer in gemm_benchmark.QUICK_LAYERS:
        with FlopCounterMode(display=False) as counter, torch.device("meta"):
            convolution = torch.nn.Conv2d(
                layer.channels, layer.filters, layer.kernel, layer.stride, layer.padding, bias=False
            )
            convolution(torch.empty(1, layer.channels, layer.size, layer.size))
        assert layer.flops == counter.get_total_flops()


def test_the_cache_of_plans_is_timed_with_what_it_saves(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="the builder is not installed on this platform")
    path = deploy_benchmark._write_net(tmp_path / "net.onnx", channels=(3, 4))
    table = deploy_benchmark.cache_table(path, tmp_path, repeats=1)
    names, *_, ratios = ([*column.cells] for column in table.columns)
    ratio_of = dict(zip(names, map(float, ratios), strict=True))
    assert ratio_of["build_plan"] == 1
    assert ratio_of["get_or_build, a hit"] < 0.5 < ratio_of["get_or_build, a miss (compare, build, store)"]


def test_simplifiers_are_told_with_what_they_leave_and_what_they_cost() -> None:
    before = Outcome("original", {"Relu": 4}, run_ms=2.0, optimized_run_ms=1.0)
    after = Outcome("labkit", {"Relu": 1}, tool_ms=30.0, run_ms=1.0, optimized_run_ms=0.5)
    failed = Outcome("onnxsim", error="onnxsim gives up")
    table = simplify_benchmark.tool_table(SimplifyReport("net.onnx", (before, after, failed)))
    rows = list(zip(*(column.cells for column in table.columns), strict=False))
    assert rows[1] == ("labkit", "25%", "15", "0.50", "0.50")
    assert rows[2][:2] == ("onnxsim", "onnxsim gives up")


def test_the_gpu_table_holds_triton_against_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, interpreted: shows that the table is filled, not how fast anything is."""
    randn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, device, dtype: randn(*shape, dtype=dtype))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(gemm_benchmark, "compare", lambda calls, **_: compare(calls, repeats=1, warmup=0))
    table = gemm_benchmark.triton_table((16, 32))
    assert table.row_count == (2 if unavailable_reason() is None else 0)
    assert table.caption == unavailable_reason()
