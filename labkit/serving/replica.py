"""Continuous batching, simulated exactly and without stepping: from one change to the next.

The loop of the machine, at a boundary between two decode steps:

    1. the step has ended: tokens in use are read, whoever has its last token is freed, arrivals up to now join
    2. the head of the queue is tested, and the next, up to the first refusal
    3. all admitted are prefilled at once; each has its first token then, and with one output token is done
    4. if the pool has no slot for everybody's next token, the request admitted last goes back to the head of the
       queue and will be computed again, prompt and all tokens so far, as often as needed
    5. one decode step for everybody running

Nothing but time passes between two changes (somebody finishes, arrives, becomes admissible, is evicted, outlives the
length that was believed), so the loop jumps from one to the next; n steps have a closed form in `LinearCost`. The
result is the same to the nanosecond as taking every step, which tests/step_reference.py does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

import numpy as np

from labkit.router import UNTIL_FINISH, AdmissionPolicy, RequestError
from labkit.serving.cost import BatchLimits, LinearCost
from labkit.serving.result import NEVER, SimulationResult, Timeline, Times
from labkit.serving.traces import Trace
from labkit.serving.waiting import NEVER_COMES, WaitingQueue

# A heap entry is step << 32 | request: one integer compares faster than a tuple.
_REQUEST_BITS = 32
_REQUEST_MASK = (1 << _REQUEST_BITS) - 1

_MAX_NS = 2**63 - 1

Progress = Callable[[int], object]


class Replica:
    """One replica that serves a trace under any policy: `run`, then `result`. Arguments are not checked here.

    Its state is that of the machine at one boundary between decode steps; steps are absolute.

    Per request, by number: `_generated` output tokens before its last admission, `_believed` output tokens, `_size`
    (its tokens at the end), and while it runs `_end` and `_believed_end`, its last step in truth and as believed.
    Whoever does not run has an `_end` of NEVER; whoever does holds `_size - (_end - _step)` tokens.
    """

    def __init__(
        self,
        trace: Trace,
        capacity: int,
        policy: AdmissionPolicy,
        cost: LinearCost,
        limits: BatchLimits,
        progress: Progress | None,
    ) -> None:
        self._trace, self._capacity, self._policy = trace, capacity, policy
        self._cost, self._limits, self._progress = cost, limits, progress
        n = trace.num_requests
        size = trace.prompt_tokens + trace.output_tokens - 1
        self._prompts: list[int] = trace.prompt_tokens.tolist()
        self._outputs: list[int] = trace.output_tokens.tolist()
        self._size: list[int] = size.tolist()
        fits = size <= capacity
        self._queue = WaitingQueue(np.flatnonzero(fits).tolist(), trace.arrival_ns[fits].tolist())
        policy.begin(capacity)
        self._believed = policy.lengths.begin(self._outputs)
        self._generated = [0] * n
        self._end, self._believed_end, self._admit_ns, self._finish_ns = ([NEVER] * n for _ in range(4))
        self._first_token_ns: dict[int, int] = {}  # of those admitted again, whose admit_ns is another
        self._num_evictions: Counter[int] = Counter()
        self._due: list[int] = []  # a heap: when to look at whom, at the end or where it is believed to be
        self._admission_order: list[int] = []  # of those running; who has finished stays until it is on top
        self._stretches: list[int] = []
        self._now = self._step = self._held = self._num_running = 0
        self._retest = 0  # the step before which asking the policy again is pointless
        self._max_tokens = self._num_steps = self._num_recomputed = self._num_tests = 0
        self._num_done = n - int(fits.sum())
        self._report_at = 0 if progress else n + 1

    def run(self) -> None:
        """Until nobody runs, waits or is to come."""
        queue = self._queue
        while True:
            if queue.head_ns <= self._now and self._step >= self._retest:
                self._admit_from_head()
            if self._num_running:
                if self._held + self._num_running > self._capacity:
                    self._evict()
                self._decode()
            elif queue.head_ns == NEVER_COMES:
                break
            else:
                self._now = max(self._now, queue.head_ns)
                self._retest = 0
            if self._num_done >= self._report_at:
                self._report()
        if self._progress:
            self._progress(self._num_done)

    def _admit_from_head(self) -> None:
        """Test from the head to the first refusal, then prefill whoever was admitted."""
        queue, capacity, limits = self._queue, self._capacity, self._limits
        try_admit, lengths = self._policy.try_admit, self._policy.lengths
        prompts, generated, believed = self._prompts, self._generated, self._believed
        now, step, held, num_running = self._now, self._step, self._held, self._num_running
        admitted: list[int] = []
        round_tokens = 0
        self._retest = 0
        while queue.head_ns <= now:
            request = queue.head
            done = generated[request]
            tokens = prompts[request] + done
            if num_running >= limits.max_running or held + tokens > capacity:
                self._retest = UNTIL_FINISH
                break
            if admitted and round_tokens + tokens > limits.max_prefill_tokens:
                self._retest = step + 1
                break
            if believed[request] <= done:
                believed[request] = lengths.outlived(request, done)
            # the prefill makes one of the tokens to come, and the last one is never cached
            left = believed[request] - done - 1
            if tokens + left > capacity:
                left = capacity - tokens
            self._num_tests += 1
            wait = try_admit(request, step, held, tokens, left)
            if wait and held:
                self._retest = UNTIL_FINISH if wait == UNTIL_FINISH else step + wait
                break
            queue.pop()
            if wait:  # refused by an empty pool: it would wait for ever
                self._num_done += 1
                continue
            self._believed_end[request] = step + left
            admitted.append(request)
            num_running += 1
            held += tokens
            round_tokens += tokens
        if admitted:
            self._held, self._num_running = held, num_running
            self._prefill(admitted, round_tokens)

    def _prefill(self, admitted: list[int], round_tokens: int) -> None:
        """Compute the prompts of all admitted at once; each has its next output token at the end."""
        start_ns, step = self._now, self._step
        admit_ns, ends, believed_end, due = self._admit_ns, self._end, self._believed_end, self._due
        outputs, generated = self._outputs, self._generated
        self._now = now = start_ns + self._cost.prefill_ns(round_tokens)
        self._stretches += (start_ns, now, 0, self._num_running, self._held)
        self._max_tokens = max(self._max_tokens, self._held)
        for request in admitted:
            if generated[request]:
                self._recompute(request)
            admit_ns[request] = now
            ends[request] = end = step + outputs[request] - generated[request] - 1
            if believed_end[request] < end:
                end = believed_end[request]
            heappush(due, end << _REQUEST_BITS | request)
        self._admission_order += admitted
        if due[0] >> _REQUEST_BITS <= step:
            self._settle()

    def _recompute(self, request: int) -> None:
        self._num_recomputed += self._prompts[request] + self._generated[request]
        self._first_token_ns.setdefault(request, self._admit_ns[request])

    def _settle(self) -> None:
        """Free whoever has ended at this step; believe something new of whoever should have and has not."""
        due, ends, believed_end, finish_ns = self._due, self._end, self._believed_end, self._finish_ns
        size, step, now, held, policy = self._size, self._step, self._now, self._held, self._policy
        learns = policy.lengths.learns
        limit = (step + 1) << _REQUEST_BITS
        num_finished = 0
        outlived = []
        while due and due[0] < limit:
            request = heappop(due) & _REQUEST_MASK
            if ends[request] != step:
                if ends[request] != NEVER and believed_end[request] == step:
                    outlived.append(request)
                    believed_end[request] = NEVER  # an entry from before an eviction may say the same step
                continue  # else it was evicted since
            ends[request] = NEVER
            early = believed_end[request] - step
            policy.release(request, step, size[request], early)
            if learns:
                policy.lengths.observe(self._outputs[request])
            if early:
                self._retest = 0
            finish_ns[request] = now
            held -= size[request]
            num_finished += 1
        self._held = held
        self._num_running -= num_finished
        self._num_done += num_finished
        if num_finished and self._retest == UNTIL_FINISH:
            self._retest = 0
        for request in outlived:
            self._extend(request)

    def _extend(self, request: int) -> None:
        """Believe a new length of a running request that has outlived the old one."""
        step = self._step
        to_come = self._end[request] - step
        generated, tokens = self._outputs[request] - to_come, self._size[request] - to_come
        self._believed[request] = believed = self._policy.lengths.outlived(request, generated)
        left = min(believed - generated, self._capacity - tokens)
        self._believed_end[request] = step + left
        self._policy.extend(request, step, tokens, left)
        heappush(self._due, step + min(left, to_come) << _REQUEST_BITS | request)
        self._retest = 0

    def _evict(self) -> None:
        """Send back whoever was admitted last until everybody else has a slot for the next token."""
        step, ends = self._step, self._end
        while self._held + self._num_running > self._capacity:
            request = self._admission_order.pop()
            if ends[request] == NEVER:
                continue
            to_come = ends[request] - step
            tokens = self._size[request] - to_come
            self._policy.release(request, step, tokens, self._believed_end[request] - step)
            self._generated[request] = self._outputs[request] - to_come
            ends[request] = NEVER
            self._held -= tokens
            self._num_running -= 1
            self._num_evictions[request] += 1
            self._queue.push_front(request)
            self._retest = step + 1

    def _decode(self) -> None:
        """As many decode steps as pass before anything changes."""
        held, running, now, step = self._held, self._num_running, self._now, self._step
        steps = (self._due[0] >> _REQUEST_BITS) - step
        to_arrival = self._queue.head_ns - now
        if to_arrival <= 0:
            wait = self._retest - step
            if wait < steps:
                steps = wait if wait > 0 else 1
        if held + running * steps > self._capacity:
            steps = (self._capacity - held) // running
        took_ns = self._cost.decode_ns(running, held, steps)
        if took_ns > to_arrival > 0:
            steps = self._cost.steps_to_cover(running, held, to_arrival)
            took_ns = self._cost.decode_ns(running, held, steps)
        self._now = end_ns = now + took_ns
        self._stretches += (now, end_ns, steps, running, held)
        self._step = step = step + steps
        self._num_steps += steps
        self._held = held = held + running * steps
        if held > self._max_tokens:
            self._max_tokens = held
        if self._due[0] >> _REQUEST_BITS <= step:
            self._settle()

    def _report(self) -> None:
        assert self._progress is not None
        self._progress(self._num_done)
        self._report_at = self._num_done + 1 + self._trace.num_requests // 200

    def result(self) -> SimulationResult:
        """What happened, as arrays; RequestError when it took longer than int64 nanoseconds can say."""
        if self._now > _MAX_NS:
            raise RequestError(f"the last token comes after {self._now / 3.156e16:,.0f} years; take smaller costs.")
        stretches: Times = np.array(self._stretches, np.int64).reshape(-1, 5)
        admit_ns, finish_ns = np.array(self._admit_ns, np.int64), np.array(self._finish_ns, np.int64)
        first_token_ns, num_evictions = admit_ns.copy(), np.zeros_like(admit_ns)
        first_token_ns[list(self._first_token_ns)] = list(self._first_token_ns.values())
        num_evictions[list(self._num_evictions)] = list(self._num_evictions.values())
        return SimulationResult(
            self._trace,
            self._capacity,
            self._policy.name,
            self._policy.lengths.name,
            self._cost,
            admit_ns,
            first_token_ns,
            finish_ns,
            num_evictions,
            Timeline(*stretches.T),
            max_tokens_used=self._max_tokens,
            num_decode_steps=self._num_steps,
            num_recomputed_tokens=self._num_recomputed,
            num_tests=self._num_tests,
        )
