"""`labkit route`: its JSON, its table, its picture, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.commands.route import _progress, route
from labkit.commands.route_figure import caption, hour_figure
from labkit.serving import make_trace, read_trace, simulate, synthetic_trace

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_azure = pytest.mark.skipif(not DATA.is_dir(), reason="the Azure traces are not beside this checkout")
SMALL = ("--synthetic", "conv", "--requests", "200", "--capacity", "20000")


def run(*arguments):
    return CliRunner().invoke(route, [str(each) for each in arguments])


def report(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "trace.csv"
    lines = [f"2023-11-16 18:15:{second:02}.5,{100 + second},{10 + second}" for second in range(10)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines))
    return path


def test_json_is_the_simulation(file):
    said, result = report("--trace", file, "--capacity", 1000), simulate(read_trace(file), 1000)
    assert said["requests"] == 10
    assert said["max_tokens_used"] == result.max_tokens_used
    assert said["makespan_s"] == result.makespan_ns / 1e9
    assert said["wall_s"] > 0
    assert said["requests_per_s"] == pytest.approx(10 / said["wall_s"])
    assert set(said["ttft_s"]) == {"mean", "p50", "p90", "p99", "max"}
    assert (said["refused"], said["evictions"], said["goodput_per_s"]) == (0, 0, None)


def test_two_runs_differ_only_in_the_two_timings():
    first, second = (report(*SMALL, "--policy", "past-future", "--seed", 3) for _ in range(2))
    for said in (first, second):
        del said["wall_s"], said["requests_per_s"]
    assert first == second


def test_stdout_is_one_json_object_and_stderr_is_empty(file):
    command = [sys.executable, "-m", "labkit", "route", "--trace", str(file), "--capacity", "1000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["requests"] == 10
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@needs_azure
def test_azure():
    said = report("--trace", DATA / "azure_llm_2023_conv.csv", "--capacity", 120_000)
    assert said["requests"] == 19_366
    assert said["makespan_s"] == pytest.approx(3573.391, abs=0.0006)
    assert said["max_tokens_used"] == 120_000
    assert "CC-BY-4.0" in said["credit"]


def test_table_is_readable():
    result = run(*SMALL, "--slo-ttft", 5)
    assert result.exit_code == 0
    for words in (
        "synthetic conv, seed 0 on a pool of 20,000 tokens",
        "good requests per second",
        "first arrival to last token",
        "arrival to first token (TTFT)",
        "p99",
        "requests/s",
    ):
        assert words in result.stdout


def test_every_option_reaches_the_simulation(file):
    assert report(*SMALL)["makespan_s"] > report(*SMALL, "--rate", 50)["makespan_s"]
    assert report(*SMALL, "--at-once")["waiting_s"]["max"] > report(*SMALL)["waiting_s"]["max"]
    assert report(*SMALL, "--declared", 1000)["lengths"] == "every output declared 1,000"
    assert report("--trace", file, "--capacity", 1000, "--requests", 4)["requests"] == 4
    assert report(*SMALL, "--policy", "fits-now", "--at-once")["evictions"] > 0
    strict, lax = (report(*SMALL, "--slo-ttft", 1e-3, "--slo-tpot", tpot)["goodput_per_s"] for tpot in (1, 9))
    assert strict == lax == 0
    assert report(*SMALL, "--slo-tpot", 9)["goodput_per_s"] > 0
    assert report("--trace", file, "--capacity", 105)["refused"] == 10


def test_a_learners_file_is_a_policy(tmp_path):
    answer = tmp_path / "answer.py"
    answer.write_text(
        "from labkit.router import peak_tokens\n"
        "def can_admit(running, candidate, capacity):\n"
        "    return peak_tokens([*running, candidate]) <= capacity\n"
    )
    own, ours = report(*SMALL, "--policy", answer), report(*SMALL)
    assert own["policy"] == "can_admit of answer.py"
    assert own["makespan_s"] == ours["makespan_s"]
    answer.write_text("def other(): pass\n")
    refused = run(*SMALL, "--policy", answer)
    assert (refused.exit_code, "defines no can_admit" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "def can_admit(running, candidate, capacity):\n    return 1 / len(running) > 0\n",
            "line 2: ZeroDivisionError",
        ),
        ("def can_admit(running,\n", "line 1: SyntaxError"),
        ("import labkitt\n", "line 1: ModuleNotFoundError: No module named 'labkitt'"),
        (
            "def can_admit(running, candidate, capacity):\n    return 1\n",
            "can_admit of answer.py answered 1 (int); expected True or",
        ),
    ],
)
def test_a_mistake_in_a_learners_file_is_a_sentence_with_its_line(tmp_path, source, said):
    answer = tmp_path / "answer.py"
    answer.write_text(source)
    result = run(*SMALL, "--policy", answer)
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_a_file_out_of_order(file):
    lines = file.read_text().split("\n")
    file.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    refused = run("--trace", file, "--capacity", 1000)
    assert refused.exit_code == 1
    assert f"{file}, line 3: this request is 1.000000 s earlier" in refused.output
    assert "--sort" in refused.output
    assert report("--trace", file, "--capacity", 1000, "--sort")["requests"] == 10


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--capacity", "10"], 2, "give one trace: --trace FILE, or --synthetic conv"),
        (["--synthetic", "conv"], 2, "--capacity"),
        ([*SMALL, "--policy", "peek"], 2, "there is no policy 'peek'; there are peak, reserve"),
        ([*SMALL, "--policy", "none.py"], 2, "there is no such file"),
        ([*SMALL, "--requests", "0"], 2, "--requests is 0; it must be 1 or more"),
        ([*SMALL, "--rate", "-1"], 2, "rate_per_s is -1.0"),
        ([*SMALL, "--declared", "0"], 2, "declared is 0"),
        ([*SMALL, "--slo-ttft", "-1"], 2, "seconds above 0"),
        ([*SMALL, "--plot", "hour.pdf"], 2, "--plot writes a PNG; call the file hour.png"),
        (["--synthetic", "conv", "--capacity", "0"], 2, "capacity is 0; it must be 1 or more"),
        (["--synthetic", "conv", "--capacity", "-5"], 2, "capacity is -5"),
        (["--synthetic", "conv", "--capacity", "1.5"], 2, "'1.5' is not a valid integer"),
        (["--synthetic", "conv", "--capacity", "nan"], 2, "'nan' is not a valid integer"),
        (["--synthetic", "conv", "--capacity", str(10**20)], 2, "the most that is handled here is"),
        ([*SMALL, "--rate", "nan"], 2, "rate_per_s is nan"),
        ([*SMALL, "--requests", str(10**12)], 2, "the most that is handled here is 10,000,000"),
        ([*SMALL, "--seed", "-1"], 2, "seed is -1; it must be 0 or more"),
        (["--trace", "nothing.csv", "--capacity", "5"], 2, "nothing.csv"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(arguments, code, said):
    result = run(*arguments)
    assert result.exit_code == code
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize("length", ["-5", "0", "3.5", "nan", "1e3", "9" * 20, ""])
@pytest.mark.parametrize("column", ["ContextTokens", "GeneratedTokens"])
def test_a_bad_length_names_file_line_and_column(file, column, length):
    prompt, output = (length, 7) if column == "ContextTokens" else (7, length)
    file.write_text(f"{file.read_text()}\n2023-11-16 18:16:00.5,{prompt},{output}")
    result = run("--trace", file, "--capacity", 1000)
    assert result.exit_code == 1
    assert f"{file}, line 12: expected {column} to be a whole number from 1" in " ".join(result.output.split())


def test_rate_belongs_to_synthetic(file):
    assert "--rate belongs to --synthetic" in run("--trace", file, "--capacity", 1000, "--rate", 3).output


def test_plot_is_a_png(tmp_path):
    path = tmp_path / "hour.png"
    result = run(*SMALL, "--plot", path, "--json")
    assert result.exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert json.loads(result.stdout)["requests"] == 200


def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_simulated(tmp_path, monkeypatch):
    def must_not_run(*arguments, **more):
        raise AssertionError("simulated first")

    monkeypatch.setattr("labkit.commands.route.simulate", must_not_run)
    result = run(*SMALL, "--plot", tmp_path / "nowhere" / "a.png")
    assert result.exit_code == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in " ".join(result.output.split())


def test_a_long_simulation_draws_a_bar_on_a_terminal_and_a_short_one_none(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for after_s, drawn in ((-1, True), (60, False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr("labkit.commands.route._BAR_AFTER_S", after_s)
        with _progress(10_000) as progress:
            simulate(synthetic_trace("conv", 300), 20_000, progress=progress)
        assert ("requests served" in terminal.getvalue()) is drawn
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with _progress(10_000) as progress:
        assert progress is None  # a log file wants no bar


def test_figure_has_units_and_a_caption():
    result = simulate(synthetic_trace("conv", 200, rate_per_s=20), 20_000)
    figure = hour_figure(result)
    assert [axes.get_ylabel() for axes in figure.axes] == ["tokens held", "requests waiting", "TTFT (s)"]
    assert figure.axes[-1].get_xlabel() == "simulated time (minutes)"
    words = caption(result)
    assert words.startswith("200 requests of synthetic conv, seed 0 on a pool of 20,000 tokens, policy peak")
    assert "linear cost model" in words
    assert " ".join(figure._supxlabel.get_text().split()) == words


@needs_azure
def test_figure_of_a_published_trace_names_source_and_licence():
    result = simulate(read_trace(DATA / "azure_llm_2023_code.csv").first(500), 40_000)
    # the whole file is the published one, so its beginning carries the credit too
    assert "Azure LLM inference trace 2023" in caption(result)
    assert "CC-BY-4.0" in caption(result)


def test_figure_of_nothing():
    result = simulate(make_trace([(0, 500, 5)]), 100)
    assert caption(result).startswith("1 request of trace on a pool of 100 tokens")
    assert hour_figure(result).axes
