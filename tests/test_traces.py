"""Traces from files and out of thin air: read exactly, refused in a sentence, never read in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.router import RequestError
from labkit.serving import WORKLOADS, Trace, TraceError, make_trace, read_trace, synthetic_trace

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_azure = pytest.mark.skipif(not DATA.is_dir(), reason="the Azure traces are not beside this checkout")

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
FIRST = "2023-11-16 18:15:46.6805900,374,44"
SECOND = "2023-11-16 18:15:50.9951690,396,109"


@pytest.fixture
def write(tmp_path):
    def write(*lines, end="\n", encoding="utf-8"):
        path = tmp_path / "trace.csv"
        path.write_bytes(end.join(lines).encode(encoding))
        return path

    return write


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_file_is_read_exactly(write):
    trace = read_trace(write(HEADER, FIRST, SECOND))
    assert trace.arrival_ns.tolist() == [0, 4_314_579_000]
    assert trace.prompt_tokens.tolist() == [374, 396]
    assert trace.output_tokens.tolist() == [44, 109]
    assert (trace.name, trace.credit, trace.num_requests) == ("trace.csv", "", 2)
    assert trace.span_s == 4.314579


@given(st.integers(0, 10**9 - 1), st.integers(0, 59), st.integers(0, 23), st.integers(1, 28))
def test_nanoseconds_survive(tmp_path_factory, nanoseconds, second, hour, day):
    path = tmp_path_factory.mktemp("trace") / "t.csv"
    stamp = f"2024-02-{day:02}T{hour:02}:59:{second:02}.{nanoseconds:09}"
    path.write_text(f"{HEADER}\n2024-02-01 00:00:00,1,1\n{stamp.replace('T', ' ')},1,1\n")
    expected = np.datetime64(stamp, "ns") - np.datetime64("2024-02-01", "ns")
    assert read_trace(path).arrival_ns[1] == expected.astype(np.int64)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("tail", [[], [""], ["", ""]])
def test_line_ends_marks_and_blank_tails_do_not_matter(write, end, encoding, tail):
    assert read_trace(write(HEADER, FIRST, SECOND, *tail, end=end, encoding=encoding)).num_requests == 2


def test_columns_by_name_in_any_order(write):
    path = write("id,GeneratedTokens,ContextTokens,TIMESTAMP", "a,44,374,2024-05-10 00:00:00.009930+00:00")
    trace = read_trace(path)
    assert (trace.prompt_tokens.tolist(), trace.output_tokens.tolist()) == ([374], [44])


def test_equal_times_are_in_order(write):
    assert read_trace(write(HEADER, FIRST, FIRST)).arrival_ns.tolist() == [0, 0]


MALFORMED = {
    "too few values": ("2023-11-16 18:15:50.99,396", "expected 3 values, got 2: '2023-11-16 18:15:50.99,396'"),
    "too many values": (SECOND + ",5", "expected 3 values, got 4"),
    "blank line in the middle": ("", "expected 3 values, got 0"),
    "no time": ("yesterday,396,109", "expected a TIMESTAMP like 2023-11-16 18:15:46.6805900, got 'yesterday'"),
    "empty time": (",396,109", "got ''"),
    "date only": ("2023-11-16,396,109", "got '2023-11-16'"),
    "not a time": ("NaT,396,109", "got 'NaT'"),
    "no such day": ("2023-02-30 00:00:00,396,109", "day is out of range for month"),
    "no such hour": ("2023-11-16 24:00:00,396,109", "time of day up to 23:59:59"),
    "another zone": ("2023-11-16 18:15:50+02:00,396,109", "expected a TIMESTAMP"),
    "ten decimals": ("2023-11-16 18:15:50.0123456789,396,109", "expected a TIMESTAMP"),
    "negative": ("2023-11-16 18:15:50,-3,109", "ContextTokens to be a whole number from 1 to 10,000,000, got '-3'"),
    "zero": ("2023-11-16 18:15:50,0,109", "ContextTokens to be a whole number from 1"),
    "no output": ("2023-11-16 18:15:50,396,0", "GeneratedTokens to be a whole number from 1"),
    "fraction": ("2023-11-16 18:15:50,396.0,109", "got '396.0'"),
    "NaN": ("2023-11-16 18:15:50,396,nan", "got 'nan'"),
    "underscore": ("2023-11-16 18:15:50,3_9,109", "got '3_9'"),
    "blank": ("2023-11-16 18:15:50, 396,109", "got ' 396'"),
    "other digits": ("2023-11-16 18:15:50,٣,109", "got '٣'"),
    "huge": ("2023-11-16 18:15:50,396,99999999999999999999", "from 1 to 10,000,000"),
    "earlier": ("2023-11-16 18:15:46.6805899,396,109", "0.000000 s earlier than the one before it"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_line_is_named_and_nothing_is_skipped(write, case):
    line, said = MALFORMED[case]
    path = write(HEADER, FIRST, line, SECOND, end="\r\n")
    with pytest.raises(TraceError) as refusal:
        read_trace(path)
    assert str(refusal.value).startswith(f"{path}, line 3: ")
    assert said in str(refusal.value)
    assert str(refusal.value).endswith(".") or "--sort" in str(refusal.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "line 1: no column TIMESTAMP or ContextTokens or GeneratedTokens"),
        ([FIRST], "line 1: no column TIMESTAMP"),
        (["TIMESTAMP,ContextTokens", FIRST], "no column GeneratedTokens; expected a header with TIMESTAMP,Context"),
        ([HEADER], "line 2: the file ends after its header; expected at least one request"),
        ([HEADER, FIRST, "2123-11-16 18:15:50,1,1"], "line 3: more than 73 years after the first"),
    ],
)
def test_a_file_that_is_no_trace(write, lines, said):
    with pytest.raises(TraceError, match=said):
        read_trace(write(*lines))


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(HEADER.encode() + b"\n" + FIRST.encode() + b"\n\xff\xfe\n")
    with pytest.raises(TraceError, match="line 3: not UTF-8"):
        read_trace(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "nothing.csv")


def test_out_of_order_is_refused_with_the_way_out_or_sorted(write):
    path = write(HEADER, SECOND, FIRST)
    with pytest.raises(TraceError, match=r"line 3: this request is 4\.314579 s earlier .* sort=True"):
        read_trace(path)
    sorted_trace = read_trace(path, sort=True)
    assert sorted_trace.arrival_ns.tolist() == [0, 4_314_579_000]
    assert sorted_trace.prompt_tokens.tolist() == [374, 396]


@needs_azure
@pytest.mark.parametrize(
    ("name", "num_requests", "span_s", "tokens_in", "tokens_out"),
    [("conv", 19_366, 3501.7, 22_361_870, 4_088_665), ("code", 8819, 3435.9, 18_059_974, 245_896)],
)
def test_azure(name, num_requests, span_s, tokens_in, tokens_out):
    trace = read_trace(DATA / f"azure_llm_2023_{name}.csv")
    assert trace.num_requests == num_requests
    assert trace.span_s == pytest.approx(span_s, abs=0.06)
    assert (trace.prompt_tokens.sum(), trace.output_tokens.sum()) == (tokens_in, tokens_out)
    assert "CC-BY-4.0" in trace.credit
    workload = WORKLOADS[name]
    assert num_requests / trace.span_s == pytest.approx(workload.rate_per_s, abs=0.006)
    for lengths, known in ((trace.prompt_tokens, workload.prompt), (trace.output_tokens, workload.output)):
        assert np.quantile(lengths, [0, 0.5, 0.9, 0.99, 1]) == pytest.approx(known.quantiles, abs=1)
        assert lengths.mean() == pytest.approx(known.mean, abs=0.06)


# --- made by hand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([0], [1, 2], [1]), "one value of each kind per request; got 1 arrival_ns, 2 prompt_tokens"),
        (([0, 5, 4], [1] * 3, [1] * 3), "arrivals go back: request 2 comes at 4 ns, request 1 at 5 ns"),
        (([-1], [1], [1]), r"arrival_ns\[0\] is -1"),
        (([0], [0], [1]), r"prompt_tokens\[0\] is 0; expected 1 to"),
        (([0], [1], [0]), r"output_tokens\[0\] is 0"),
        (([0], [1], [10**8]), r"output_tokens\[0\] is 100000000"),
        (([0], [1], [10**30]), "output_tokens"),
        (([0], [1.0], [1]), "prompt_tokens is a list of whole numbers; got float64"),
        (([0], [float("nan")], [1]), "prompt_tokens is a list of whole numbers"),
        (([0, 1], [5, 10**30], [1, 1]), r"prompt_tokens\[1\] is 10{30}; expected 1 to 10,000,000"),
        (([0], [True], [1]), "got bool"),
        (([0], ["1"], [1]), "whole numbers"),
        (([0], [[1]], [1]), "shape"),
        (([0], [[1], [1, 2]], [1]), "whole numbers"),
    ],
)
def test_a_bad_trace_is_refused_in_a_sentence(columns, said):
    with pytest.raises(TraceError, match=said):
        Trace(*columns)


def test_make_first_and_all_at_once():
    trace = make_trace([(0, 1, 2), (10, 3, 4), (10, 5, 6)])
    assert trace.first(2).prompt_tokens.tolist() == [1, 3]
    assert trace.first(9).num_requests == 3
    assert trace.all_at_once().arrival_ns.tolist() == [0, 0, 0]
    assert trace.arrival_ns.tolist() == [0, 10, 10]
    assert make_trace([]).num_requests == 0


@pytest.mark.parametrize("bad", [[(1, 2)], [5], None, 7, [(0, 1, 1), None]])
def test_what_is_no_list_of_requests_is_refused(bad):
    with pytest.raises(TraceError, match=r"a trace is a list of requests \(arrival_ns, prompt_tokens, output_tokens\)"):
        make_trace(bad)


@pytest.mark.parametrize("bad", [-1, 1.5, float("nan"), True, None, "3"])
def test_a_bad_number_of_first_requests_is_refused(bad):
    with pytest.raises(ValueError, match="num_requests is"):
        make_trace([(0, 1, 2)]).first(bad)


# --- synthetic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_synthetic_lengths_and_rate_are_the_published_ones(workload):
    trace, known = synthetic_trace(workload, 40_000, seed=1), WORKLOADS[workload]
    for lengths, statistics in ((trace.prompt_tokens, known.prompt), (trace.output_tokens, known.output)):
        assert lengths.mean() == pytest.approx(statistics.mean, rel=0.02)
        assert lengths.min() >= statistics.quantiles[0]
        assert lengths.max() <= statistics.quantiles[-1]
        assert lengths.max() > 0.9 * statistics.quantiles[-1]
        for quantile, value in zip((0.5, 0.9, 0.99), statistics.quantiles[1:4], strict=True):
            assert np.mean(lengths < value) < quantile + 0.01
            assert np.mean(lengths <= value) > quantile - 0.01
    assert trace.num_requests / trace.span_s == pytest.approx(known.rate_per_s, rel=0.02)


def test_a_seed_is_a_trace():
    same, again, other = (synthetic_trace("conv", 50, seed) for seed in (1, 1, 2))
    assert same.arrival_ns.tolist() == again.arrival_ns.tolist()
    assert same.output_tokens.tolist() == again.output_tokens.tolist() != other.output_tokens.tolist()
    assert same.name == "synthetic conv, seed 1"


def test_another_rate_stretches_the_same_requests():
    slow, fast = (synthetic_trace("code", 500, 3, rate_per_s=rate) for rate in (1, 10))
    assert slow.prompt_tokens.tolist() == fast.prompt_tokens.tolist()
    assert slow.arrival_ns / 10 == pytest.approx(fast.arrival_ns, abs=1)
    assert slow.arrival_ns[0] == 0


@pytest.mark.parametrize("burstiness", [0.0, 0.5, 1.0, 3.0])
def test_burstiness_is_the_spread_of_the_gaps(burstiness):
    gaps = np.diff(synthetic_trace("conv", 50_000, 0, burstiness=burstiness).arrival_ns)
    assert gaps.std() / gaps.mean() == pytest.approx(burstiness, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"workload": "chat"}, "there is no workload 'chat'; there are conv, code"),
        ({"num_requests": -1}, "num_requests is -1"),
        ({"num_requests": 10**8}, "10,000,000"),
        ({"num_requests": 2.0}, "num_requests is 2.0, a float"),
        ({"seed": -1}, "seed is -1"),
        ({"rate_per_s": 0}, "rate_per_s is 0; expected a number from"),
        ({"rate_per_s": float("nan")}, "rate_per_s is nan"),
        ({"burstiness": -0.1}, "burstiness is -0.1"),
        ({"rate_per_s": "5"}, "rate_per_s is '5'"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(arguments, said):
    with pytest.raises(RequestError, match=said):
        synthetic_trace(**arguments)


def test_no_requests():
    trace = synthetic_trace("conv", 0)
    assert (trace.num_requests, trace.span_s) == (0, 0.0)
