"""Many simulations side by side: every array below has one entry for each, and all go on by one event at a time.

For a sweep: what `simulate` does with the peak test and true lengths, exact to the nanosecond, at a third of the
price or less, because one NumPy call serves hundreds of simulations. With true lengths nobody is ever evicted and
nobody's belief changes, which leaves four things that can happen: the head is admitted, it is refused, the machine
computes, or it waits for an arrival.

The running requests of a simulation are a row of two tables, sorted by their last step, the latest first. With base =
tokens held - step, constant while a request runs, M at the last step of the k-th is need_k = k * end_k + base_1 + … +
base_k (labkit.router.peak). A completion takes the end of the row away and moves nobody; an admission inserts:

    _end    end_k
    _extra  need_k + end_k, the sum at end_k with one more request alive, but for that one's base
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labkit.serving.cost import LinearCost
from labkit.serving.replica import BatchLimits
from labkit.serving.traces import Trace

Counts = NDArray[np.int64]
Table = NDArray[np.int32]

_FAR = 1 << 61  # later than anything: a step, a nanosecond
_NOBODY = 1 << 30  # the last step of an empty place: later than anybody's

DEFAULT_COST, DEFAULT_LIMITS = LinearCost(), BatchLimits()


@dataclass(frozen=True)
class Outcome:
    """One simulation: the time to first token of each request that is not refused, and totals."""

    ttft_ns: Counts
    makespan_ns: int
    mean_use: float
    max_tokens_used: int
    num_refused: int


def fits_in_tables(
    traces: Iterable[Trace],
    capacities: Iterable[int],
    cost: LinearCost = DEFAULT_COST,
    limits: BatchLimits = DEFAULT_LIMITS,
) -> bool:
    """Whether no number in here can overflow: every request alone, at the price of the fullest step."""
    most_steps, most_ns = 0, 0
    for trace in traces:
        num_tokens = int((trace.prompt_tokens + trace.output_tokens).sum())
        num_steps = int(trace.output_tokens.sum())
        last_ns = int(trace.arrival_ns[-1]) if trace.num_requests else 0
        prefills_ns = trace.num_requests * cost.prefill_base_ns + cost.prefill_per_token_ns * num_tokens
        most_ns = max(most_ns, last_ns + prefills_ns + num_steps * cost.decode_ns(limits.max_running, num_tokens))
        most_steps = max(most_steps, num_steps)
    tables = max(capacities, default=0) + most_steps < _NOBODY // 2
    return tables and max(most_ns, most_steps * limits.max_running) < _FAR // 2


def simulate_side_by_side(
    traces: Sequence[Trace],
    capacities: Sequence[int],
    cost: LinearCost = DEFAULT_COST,
    limits: BatchLimits = DEFAULT_LIMITS,
) -> list[Outcome]:
    """As simulate(trace, capacity, "peak", …) for each trace and the capacity at the same place.

    Only where `fits_in_tables` says so: nothing is checked on the way.
    """
    if not traces:
        return []
    lanes = _Lanes(traces, capacities, cost, limits)
    lanes.run()
    return lanes.outcomes()


class _Queues:
    """The requests that fit their pool, one queue after the other in flat arrays, each with an end that never comes."""

    def __init__(self, traces: Sequence[Trace], capacities: Sequence[int]) -> None:
        fields: list[list[Counts]] = [[], [], []]
        place: dict[tuple[int, int], int] = {}
        self.first, self.length = np.zeros((2, len(traces)), np.int64)
        end = 0
        for lane, (trace, capacity) in enumerate(zip(traces, capacities, strict=True)):
            fits = trace.prompt_tokens + trace.output_tokens - 1 <= capacity
            self.length[lane] = num = int(fits.sum())
            # equal lengths of one trace are equal queues: what fits the smaller pool fits the larger
            if (id(trace), num) not in place:
                place[id(trace), num] = end
                end += num + 1
                columns = (trace.arrival_ns, trace.prompt_tokens, trace.output_tokens - 1)
                for field, column, never in zip(fields, columns, (_FAR, 0, 0), strict=True):
                    field += [column[fits], np.array([never])]
            self.first[lane] = place[id(trace), num]
        self.arrival_ns, self.prompt, self.left = map(np.concatenate, fields)


class _Lanes:
    """One lane for each simulation. A lane that is done leaves all arrays; `_lane` says who is still there.

    What is computed for a lane that does not need it is thrown away by a mask: that costs less than picking lanes.
    """

    _KEPT = (
        *("_lane", "_end", "_extra", "_num", "_capacity", "_now", "_step", "_held", "_retest", "_head", "_head_ns"),
        *("_tokens", "_left", "_note", "_round", "_round_tokens", "_one_token", "_one_token_held", "_most", "_use"),
    )

    def __init__(
        self, traces: Sequence[Trace], capacities: Sequence[int], cost: LinearCost, limits: BatchLimits
    ) -> None:
        self._traces, self._capacities, self._cost, self._limits = traces, capacities, cost, limits
        self._queues = queues = _Queues(traces, capacities)
        num = len(traces)
        width = 1 + int(queues.length.max(initial=0))
        self._first_token_ns = np.full((num, width), _FAR)
        self._ended_ns, self._ended_most = np.zeros((2, num), np.int64)
        self._ended_use, self._use = np.zeros((2, num))
        self._lane = np.arange(num)
        self._capacity = np.array(capacities, np.int64)
        self._end, self._extra = np.full((num, 32), _NOBODY, np.int32), np.zeros((num, 32), np.int32)
        zeros = np.zeros((9, num), np.int64)
        self._num, self._now, self._step, self._held, self._retest, self._round, self._round_tokens = zeros[:7]
        self._one_token, self._one_token_held = zeros[7:]
        self._most = np.zeros(num, np.int64)
        self._head = queues.first.copy()
        self._note = self._lane * width - queues.first - 1  # + _head: the place of the last one taken, in a flat array
        self._number_rows()
        self._look()

    def run(self) -> None:
        """Until every lane is done."""
        while len(self._lane):
            admitted = self._admit_one()
            ready = ~admitted | (self._head_ns > self._now)
            self._prefill(ready & (self._round > 0))
            busy = self._num > 0
            self._decode(ready & busy)
            idle = ready & ~busy
            if np.count_nonzero(idle):
                self._wait(idle)

    def _number_rows(self) -> None:
        """Where each row of the tables begins in a flat array."""
        self._rows = np.arange(0, self._end.size, self._end.shape[1])

    def _look(self) -> None:
        """Read the head of every queue."""
        self._head_ns = self._queues.arrival_ns.take(self._head)
        self._tokens, self._left = self._queues.prompt.take(self._head), self._queues.left.take(self._head)

    def _admit_one(self) -> NDArray[np.bool_]:
        """Test the head of each queue where it is there and worth testing; who admitted it."""
        admitted = (self._head_ns <= self._now) & (self._step >= self._retest)
        if not np.count_nonzero(admitted):
            return admitted
        full = self._num + self._one_token >= self._limits.max_running
        full |= self._held + self._tokens > self._capacity
        too_long = self._round_tokens + self._tokens > self._limits.max_prefill_tokens
        too_long &= self._round > 0
        last = self._step + self._left
        sooner = self._sooner(last)
        place, bases, peak, at = self._peak_with(sooner, last)
        over = (peak > self._capacity) & (self._left > 0)
        wait = np.minimum(peak - self._capacity, at - self._step)
        wait[too_long] = 1
        wait += self._step
        wait[full] = _FAR
        refused = full | too_long | over
        np.copyto(self._retest, wait, where=refused & admitted)
        admitted &= ~refused
        self._insert(admitted & (self._left > 0), sooner, place, bases, last)
        self._take(admitted)
        return admitted

    def _sooner(self, last: Counts) -> Table:
        """-1 where a running request ends before `last`, else 0.

        As bits to mask with: three times as fast as np.where, on tables of this size.
        """
        sooner = self._end - last[:, None].astype(np.int32)
        sooner >>= 31
        return sooner

    def _peak_with(self, sooner: Table, last: Counts) -> tuple[Counts, Counts, Counts, Counts]:
        """Of a candidate that stays until `last`: its place, the bases before it, the peak of its life, and when."""
        base, rows = self._tokens - self._step, self._rows
        place = sooner.argmin(axis=1)
        np.copyto(place, self._num, where=sooner.ravel().take(rows + place) == 0)
        bases = self._bases(place)
        peak = (place + 1) * last + bases + base
        largest = (self._extra & sooner).argmax(axis=1)
        flat = rows + largest
        later = (self._extra.ravel().take(flat) & sooner.ravel().take(flat)) + base
        at = last.copy()
        among = later > peak
        np.copyto(peak, later, where=among)
        np.copyto(at, self._end.ravel().take(flat), where=among)
        return place, bases, peak, at

    def _last(self, num: Counts) -> Counts:
        """Where the num-th of each row lies in a flat array; of none, where the row begins."""
        flat = np.maximum(num, 1)
        flat += self._rows
        flat -= 1
        return flat

    def _bases(self, num: Counts) -> Counts:
        """base_1 + … + base_num of each lane."""
        flat = self._last(num)
        bases = self._extra.ravel().take(flat) - (num + 1) * self._end.ravel().take(flat)
        bases[num == 0] = 0
        return bases

    def _insert(self, inserted: NDArray[np.bool_], sooner: Table, place: Counts, bases: Counts, last: Counts) -> None:
        """Put candidates at their places; whoever ends before them moves one place on, with one more alive."""
        lanes = inserted.nonzero()[0]
        if not len(lanes):
            return
        base = self._tokens - self._step
        sooner &= -inserted[:, None].astype(np.int32)
        # One row after the other as a single array: nothing crosses a border, since each row's last place is empty.
        end, extra, behind = self._end.ravel(), self._extra.ravel(), sooner.ravel()[:-1]
        change = (self._end + base[:, None].astype(np.int32)).ravel()[:-1]
        change += extra[:-1]
        change -= extra[1:]
        change &= behind
        extra[1:] += change
        np.subtract(end[:-1], end[1:], out=change)
        change &= behind
        end[1:] += change
        flat = lanes * self._end.shape[1] + place[lanes]
        end[flat] = last[lanes]
        extra[flat] = ((place + 2) * last + bases + base)[lanes]
        self._num += inserted
        if int(self._num.max()) + 2 > self._end.shape[1]:
            wider = ((0, 0), (0, 32))
            self._end, self._extra = np.pad(self._end, wider, constant_values=_NOBODY), np.pad(self._extra, wider)
            self._number_rows()

    def _take(self, admitted: NDArray[np.bool_]) -> None:
        """Take the heads of these queues into the round."""
        tokens = self._tokens * admitted
        self._held += tokens
        self._round += admitted
        self._round_tokens += tokens
        one = admitted & (self._left == 0)
        if np.count_nonzero(one):
            self._one_token += one
            self._one_token_held += tokens * one
        self._head += admitted
        self._look()

    def _prefill(self, begins: NDArray[np.bool_]) -> None:
        """Compute the prompts of the round; those with one output token are done then."""
        took_ns = (self._cost.prefill_base_ns + self._cost.prefill_per_token_ns * self._round_tokens) * begins
        self._now += took_ns
        self._use += self._held * took_ns
        np.maximum(self._most, self._held, out=self._most, where=begins)
        # noted for the last of the round, and spread over the others at the end
        lanes = begins.nonzero()[0]
        self._first_token_ns.ravel()[(self._note + self._head)[lanes]] = self._now[lanes]
        going_on = ~begins
        self._round *= going_on
        self._round_tokens *= going_on
        ended = begins & (self._one_token > 0)
        if np.count_nonzero(ended):
            self._held -= self._one_token_held * ended
            self._one_token *= ~ended
            self._one_token_held *= ~ended
            self._free(ended)

    def _free(self, finished: NDArray[np.bool_]) -> None:
        """Somebody has finished here: whoever waited for that asks again."""
        self._retest[finished & (self._retest == _FAR)] = 0

    def _decode(self, working: NDArray[np.bool_]) -> None:
        """As many steps as pass before somebody finishes, arrives, or is worth testing."""
        num, held, cost = self._num, self._held, self._cost
        gap_ns = self._head_ns - self._now
        due = self._due = self._end.ravel().take(self._last(num)).astype(np.int64)
        steps = due - self._step
        np.copyto(steps, np.minimum(steps, np.maximum(self._retest - self._step, 1)), where=gap_ns <= 0)
        steps *= working
        growth_ns = cost.decode_per_token_ns * num
        first_ns = cost.decode_base_ns + cost.decode_per_request_ns * num + cost.decode_per_token_ns * held
        took_ns = _decode_ns(steps, first_ns, growth_ns)
        cut = ((gap_ns > 0) & (took_ns > gap_ns)).nonzero()[0]
        if len(cut):
            steps[cut] = _steps_to_cover(first_ns[cut], growth_ns[cut], gap_ns[cut])
            took_ns[cut] = _decode_ns(steps[cut], first_ns[cut], growth_ns[cut])
        self._use += _held_times_ns(steps, num, held, took_ns, growth_ns)
        self._now += took_ns
        self._step += steps
        held += num * steps
        np.maximum(self._most, held, out=self._most)
        finished = (due == self._step) & working
        if np.count_nonzero(finished):
            self._finish(finished)

    def _finish(self, finished: NDArray[np.bool_]) -> None:
        """Take whoever is due from the ends of the rows, and see who is due next."""
        leaving = finished
        while np.count_nonzero(leaving):
            self._num -= leaving
            gone = leaving.nonzero()[0]
            flat = gone * self._end.shape[1] + self._num[gone]
            self._end.ravel()[flat] = _NOBODY
            np.copyto(self._due, self._end.ravel().take(self._last(self._num)), where=leaving)
            leaving = leaving & (self._due == self._step)
        np.copyto(self._held, self._num * self._step + self._bases(self._num), where=finished)
        self._free(finished)

    def _wait(self, idle: NDArray[np.bool_]) -> None:
        """Go to the next arrival, or out."""
        done = idle & (self._head_ns == _FAR)
        np.maximum(self._now, self._head_ns, out=self._now, where=idle & ~done)
        self._retest[idle] = 0
        if np.count_nonzero(done):
            which = self._lane[done]
            self._ended_ns[which], self._ended_most[which] = self._now[done], self._most[done]
            self._ended_use[which] = self._use[done]
            for name in self._KEPT:
                setattr(self, name, getattr(self, name)[~done])
            self._number_rows()

    def outcomes(self) -> list[Outcome]:
        """What happened in each lane."""
        return [self._outcome(lane) for lane in range(len(self._traces))]

    def _outcome(self, lane: int) -> Outcome:
        trace, capacity = self._traces[lane], self._capacities[lane]
        num, first = int(self._queues.length[lane]), int(self._queues.first[lane])
        if not num:
            return Outcome(np.empty(0, np.int64), 0, 0.0, 0, trace.num_requests)
        first_token_ns = np.minimum.accumulate(self._first_token_ns[lane, :num][::-1])[::-1]
        makespan_ns = int(self._ended_ns[lane] - trace.arrival_ns[0])
        return Outcome(
            first_token_ns - self._queues.arrival_ns[first : first + num],
            makespan_ns,
            float(self._ended_use[lane] / capacity / makespan_ns) if makespan_ns else 0.0,
            int(self._ended_most[lane]),
            trace.num_requests - num,
        )


def _decode_ns(steps: Counts, first_ns: Counts, growth_ns: Counts) -> Counts:
    return steps * first_ns + growth_ns * (steps * (steps - 1) >> 1)


def _held_times_ns(steps: Counts, num: Counts, held: Counts, took_ns: Counts, growth_ns: Counts) -> NDArray[np.float64]:
    """Tokens times nanoseconds over so many steps, in each of which both grow linearly.

    The mean of a product is the product of the means and a covariance: of the numbers 0 … n - 1, (n^2 - 1) / 12.
    """
    n = steps.astype(np.float64)
    mean_held = (n + 1) * (0.5 * num)
    mean_held += held
    mean_held *= took_ns
    spread = n * n
    spread -= 1
    spread *= n
    spread *= growth_ns * num
    spread *= 1 / 12
    mean_held += spread
    return mean_held


def _steps_to_cover(first_ns: Counts, growth_ns: Counts, gap_ns: Counts) -> Counts:
    """LinearCost.steps_to_cover for arrays: a root in floating point, then mended to the exact answer."""
    b = 2.0 * first_ns - growth_ns
    root = np.sqrt(b * b + 8.0 * growth_ns * gap_ns)
    steps = (2 * gap_ns / (b + root) * 2).astype(np.int64)  # the stable form; growth 0 is no special case
    steps = np.maximum(steps, 1)
    while True:
        short = _decode_ns(steps, first_ns, growth_ns) < gap_ns
        long = (steps > 1) & (_decode_ns(steps - 1, first_ns, growth_ns) >= gap_ns)
        if not (short | long).any():
            return steps
        steps = steps + short - long
