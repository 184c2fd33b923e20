"""The serving machine of labkit.serving, one step at a time: the oracle of its simulator, written to be read.

Every request is a small object, every decode step a pass over all of them, every question a call of a plain function
of (running, candidate, capacity). No calendar, no heap, no closed form, no jump.
"""

from collections import deque
from dataclasses import dataclass

from labkit.router import LengthEstimate, TrueLengths
from labkit.serving import BatchLimits, LinearCost, Trace


@dataclass(eq=False)
class Served:
    number: int
    arrival: int
    prompt: int
    output: int
    generated: int = 0
    held: int = 0
    believed: int = 0  # output tokens
    refused: bool = False
    evictions: int = 0
    start: int = -1
    first_token: int = -1
    admit: int = -1
    finish: int = -1


@dataclass
class Stepped:
    requests: list[Served]
    max_tokens: int = 0
    decode_steps: int = 0
    recomputed: int = 0
    token_ns: int = 0  # tokens held times nanoseconds, over all steps and prefills


def simulate_by_steps(
    trace: Trace,
    capacity: int,
    can_admit,
    lengths: LengthEstimate | None = None,
    cost: LinearCost | None = None,
    limits: BatchLimits | None = None,
    ask_only_after_finish: bool = False,
) -> Stepped:
    """Serve the trace, asking `can_admit` at every boundary at which the head waits."""
    lengths, cost, limits = lengths or TrueLengths(), cost or LinearCost(), limits or BatchLimits()
    columns = (trace.arrival_ns.tolist(), trace.prompt_tokens.tolist(), trace.output_tokens.tolist())
    everybody = [Served(i, *row) for i, row in enumerate(zip(*columns, strict=True))]
    for request, believed in zip(everybody, lengths.begin(columns[2]), strict=True):
        request.believed = believed
    result = Stepped(everybody)
    queue: deque[Served] = deque()
    for request in everybody:
        request.refused = request.prompt + request.output - 1 > capacity
        if not request.refused:
            queue.append(request)
    running: list[Served] = []  # in the order of admission
    now = 0
    ask = True

    def believed_left(request: Served, tokens: int, before_prefill: int) -> int:
        return min(request.believed - request.generated - before_prefill, capacity - tokens)

    def settle() -> None:
        nonlocal ask
        finished = [each for each in running if each.generated == each.output]
        for request in sorted(finished, key=lambda each: each.number):
            request.finish = now
            running.remove(request)
            if lengths.learns:
                lengths.observe(request.output)
            ask = True
        outlived = [each for each in running if each.believed <= each.generated]
        for request in sorted(outlived, key=lambda each: each.number):
            request.believed = lengths.outlived(request.number, request.generated)
            ask = True

    while queue or running:
        if not running and queue[0].arrival > now:
            now = queue[0].arrival
        admitted: list[Served] = []
        while queue and queue[0].arrival <= now:
            head = queue[0]
            tokens = head.prompt + head.generated
            inside = running + admitted
            held = sum(each.held for each in inside)
            prefill_tokens = sum(each.held for each in admitted)
            if len(inside) >= limits.max_running or held + tokens > capacity:
                break
            if admitted and prefill_tokens + tokens > limits.max_prefill_tokens:
                break
            if inside and not ask:
                break
            if head.believed <= head.generated:
                head.believed = lengths.outlived(head.number, head.generated)
            # An admitted request has no first token yet; its prefill will make it.
            view = [(each.held, believed_left(each, each.held, each in admitted)) for each in inside]
            if not can_admit(view, (tokens, believed_left(head, tokens, 1)), capacity):
                if inside:
                    ask = not ask_only_after_finish
                    break
                head.refused = True
                queue.popleft()
                continue
            queue.popleft()
            head.held = tokens
            admitted.append(head)
        if admitted:
            start, prefill_tokens = now, sum(each.held for each in admitted)
            now += cost.prefill_ns(prefill_tokens)
            running += admitted
            held = sum(each.held for each in running)
            result.max_tokens = max(result.max_tokens, held)
            result.token_ns += held * (now - start)
            for request in admitted:
                if request.first_token < 0:
                    request.start, request.first_token = start, now
                else:
                    result.recomputed += request.held
                request.admit = now
                request.generated += 1
            settle()
        while sum(each.held for each in running) + len(running) > capacity:
            victim = running.pop()
            victim.held = 0
            victim.evictions += 1
            queue.appendleft(victim)
            ask = True
        if running:
            held = sum(each.held for each in running)
            duration = cost.decode_ns(len(running), held)
            now += duration
            result.decode_steps += 1
            for request in running:
                request.held += 1
                request.generated += 1
            result.max_tokens = max(result.max_tokens, held + len(running))
            result.token_ns += (held + len(running)) * duration
            settle()
    return result
