"""`token_attention(q, k_cache, v_cache, slots)`: attention of one new token over a cache whose rows lie anywhere."""

import math
from typing import Any

import numpy as np

from labkit.course.compare import Difference, compare_arrays
from labkit.course.exercise import Case, Exercise

TOLERANCE = {"float32": 2e-5, "float64": 1e-9}


def _cases(seed: int, tier: str) -> list[Case]:
    rng = np.random.default_rng(seed)

    def eighths(*shape: int) -> np.ndarray:
        return np.round(rng.normal(size=shape) * 8) / 8  # readable, where a case is small enough to be shown

    def case(
        name: str, heads: int, head_size: int, size: int, tokens: int, dtype: Any = np.float64, scale: float = 1.0
    ) -> Case:
        q = eighths(heads, head_size) * scale
        k, v = eighths(size, heads, head_size), eighths(size, heads, head_size)
        slots = rng.permutation(size)[:tokens]
        if tokens > 1 and slots[0] < slots[-1]:
            slots = slots[::-1].copy()  # never in the order of the pool
        return Case(name, (q.astype(dtype), k.astype(dtype), v.astype(dtype), slots))

    huge = case("large scores", 2, 4, 10, 5, scale=1e5)
    uneven = case("one head with large scores, one with small ones", 2, 4, 10, 5)
    uneven.args[0][0] *= 1e5
    garbage = case("the slots of others hold garbage", 2, 3, 8, 3)
    for cache in garbage.args[1:3]:
        cache[np.setdiff1d(np.arange(8), garbage.args[3])] = np.nan
    return [
        case("one token", 1, 2, 3, 1),
        case("two tokens", 1, 2, 4, 2),
        case("two heads", 2, 3, 6, 4),
        case("as many tokens as heads", 3, 5, 7, 3),
        case("all slots of the pool", 2, 4, 6, 6),
        case("float32", 4, 8, 24, 12, np.float32),
        huge,
        uneven,
        garbage,
        case("random", int(rng.integers(2, 5)), int(rng.integers(6, 10)), 30, int(rng.integers(9, 20))),
    ]


def _judge(case: Case, value: Any) -> Difference | None:
    q, k_cache, v_cache, slots = case.args
    expected = np.array([_head(q, k_cache, v_cache, slots.tolist(), head) for head in range(len(q))]).astype(q.dtype)
    tolerance = TOLERANCE[q.dtype.name]
    return compare_arrays(expected, value, relative=tolerance, absolute=tolerance)


def _head(q: np.ndarray, k_cache: np.ndarray, v_cache: np.ndarray, slots: list[int], head: int) -> list[float]:
    """Number by number, with exactly rounded sums; the tests compare this oracle with torch."""
    head_size = q.shape[1]
    scores = [
        math.fsum(float(a) * float(b) for a, b in zip(q[head], k_cache[slot, head], strict=True)) / math.sqrt(head_size)
        for slot in slots
    ]
    weights = [math.exp(score - max(scores)) for score in scores]
    total = math.fsum(weights)
    return [
        math.fsum(weight * float(v_cache[slot, head, d]) for weight, slot in zip(weights, slots, strict=True)) / total
        for d in range(head_size)
    ]


token_attention = Exercise(
    name="token_attention",
    signature="token_attention(q, k_cache, v_cache, slots)",
    goal="Return the attention of one new token, (H, D) in q's dtype: per head, softmax(q · K / √D) times V, over the"
    " keys and values in `slots` of the two caches, (size, H, D), and over no other slots.",
    cases=_cases,
    judge_case=_judge,
    hints=(
        "Suppose the tokens lay in one run, in order. What would you compute, and what is left to do when they do not?",
        "Gather first: `k_cache[slots]` is (T, H, D), a contiguous copy in token order. Then it is attention as you"
        " know it. Subtract each head's largest score before `exp`, or large scores overflow.",
        "`k, v = k_cache[slots], v_cache[slots]`; `scores = einsum('hd,thd->ht', q, k) / sqrt(D)`;"
        " `weights = exp(scores - max over t)`, divided by their sum over t; `einsum('ht,thd->hd', weights, v)`.",
    ),
    points=3,
    minutes=15,
    difficulty=2,
    num_lines=6,
)
wrong, right = token_attention.wrong, token_attention.right


def _scores(q, k):
    return np.einsum("hd,thd->ht", q, k) / math.sqrt(q.shape[1])


def _softmax(scores):
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _attend(weights, v):
    return np.einsum("ht,thd->hd", weights, v).astype(v.dtype)


@wrong("not scaled", "scores grow with the head size: divide them by √D before the softmax.")
def _(q, k_cache, v_cache, slots):
    k, v = k_cache[slots], v_cache[slots]
    return _attend(_softmax(_scores(q, k) * math.sqrt(q.shape[1])), v)


@wrong("scaled by D", "the scores of random vectors grow with √D, not with D.")
def _(q, k_cache, v_cache, slots):
    k, v = k_cache[slots], v_cache[slots]
    return _attend(_softmax(_scores(q, k) / math.sqrt(q.shape[1])), v)


@wrong("scaled by the number of tokens", "√D is the head size's: the number of tokens has no part in the scale.")
def _(q, k_cache, v_cache, slots):
    k, v = k_cache[slots], v_cache[slots]
    return _attend(_softmax(_scores(q, k) * math.sqrt(q.shape[1] / len(slots))), v)


@wrong("first slots instead of the table's", "a request's tokens are not the first ones of the pool: gather by slots.")
def _(q, k_cache, v_cache, slots):
    k, v = k_cache[: len(slots)], v_cache[: len(slots)]
    return _attend(_softmax(_scores(q, k)), v)


@wrong("one run from the first slot", "tokens of a request need not be neighbours: gather every one of its slots.")
def _(q, k_cache, v_cache, slots):
    run = (slots[0] + np.arange(len(slots))) % len(k_cache)
    return _attend(_softmax(_scores(q, k_cache[run])), v_cache[run])


@wrong("the whole pool", "other requests' keys and values are in there too: only this request's slots count.")
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache)), v_cache)


@wrong(
    "the whole pool under a mask",
    "garbage in slots of others comes through: even a weight of 0 times NaN is NaN. Gather.",
)
def _(q, k_cache, v_cache, slots):
    scores = np.full((len(q), len(k_cache)), -np.inf)
    scores[:, slots] = _scores(q, k_cache)[:, slots]
    return _attend(_softmax(scores), v_cache)


@wrong("keys gathered, values not", "weight t belongs to the value in slot t of the table: gather the values too.")
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache[slots])), v_cache[: len(slots)])


@wrong(
    "values in another order",
    "weight t meets the value of another token, for example where the slots are sorted for one cache only.",
)
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache[slots])), v_cache[np.sort(slots)])


@wrong("keys and values exchanged", "the scores are made of keys, and what is added up are the values.")
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, v_cache[slots])), k_cache[slots])


@wrong(
    "softmax over the heads",
    "the weights of one token add up to 1 over the heads; they should over the tokens: axis t.",
)
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache[slots]).T).T, v_cache[slots])


@wrong(
    "softmax over the heads, and it overflows",
    "two mistakes: the weights add up to 1 over the heads, and it should be over the tokens, the other axis; and exp of"
    " a large score is infinite, so subtract each head's largest score first.",
)
def _(q, k_cache, v_cache, slots):
    weights = np.exp(_scores(q, k_cache[slots]))
    return _attend(weights / weights.sum(axis=0), v_cache[slots])


@wrong(
    "divided by the sum over the heads",
    "the largest score is each head's own, and the sum is not: the weights of one head add up to 1 over its tokens.",
)
def _(q, k_cache, v_cache, slots):
    scores = _scores(q, k_cache[slots])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return _attend(weights / weights.sum(axis=0), v_cache[slots])


@wrong(
    "not scaled, and it overflows",
    "two mistakes: divide the scores by √D; and exp of a large score is infinite, so subtract each head's largest score"
    " first.",
)
def _(q, k_cache, v_cache, slots):
    k = k_cache[slots]
    weights = np.exp(_scores(q, k) * math.sqrt(q.shape[1]))
    return _attend(weights / weights.sum(axis=1, keepdims=True), v_cache[slots])


@wrong("softmax over heads and tokens", "each head has a softmax of its own: one sum per head.")
def _(q, k_cache, v_cache, slots):
    scores = _scores(q, k_cache[slots])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return _attend(weights / weights.sum(), v_cache[slots])


@wrong("no softmax", "raw scores can be negative and do not add up to 1.")
def _(q, k_cache, v_cache, slots):
    return _attend(_scores(q, k_cache[slots]), v_cache[slots])


@wrong(
    "softmax that overflows",
    "right until scores are large, and NaN then: subtract the head's largest score before exp.",
)
def _(q, k_cache, v_cache, slots):
    weights = np.exp(_scores(q, k_cache[slots]))
    return _attend(weights / weights.sum(axis=1, keepdims=True), v_cache[slots])


@wrong(
    "one largest score for all heads",
    "a head with small scores beside one with large scores becomes 0 / 0: subtract one per head.",
)
def _(q, k_cache, v_cache, slots):
    scores = _scores(q, k_cache[slots])
    weights = np.exp(scores - scores.max())
    return _attend(weights / weights.sum(axis=1, keepdims=True), v_cache[slots])


@wrong("mean of the values", "every token gets the same weight: the scores are not used.")
def _(q, k_cache, v_cache, slots):
    return v_cache[slots].mean(axis=0)


@wrong("value of the best token", "the softmax mixes all tokens; this takes the largest score's alone.")
def _(q, k_cache, v_cache, slots):
    best = _scores(q, k_cache[slots]).argmax(axis=1)
    return v_cache[slots][best, np.arange(len(q))]


@wrong("newest token left out", "the cache holds every token of the request, and the new one may look at them all.")
def _(q, k_cache, v_cache, slots):
    slots = slots[:-1] if len(slots) > 1 else slots
    return _attend(_softmax(_scores(q, k_cache[slots])), v_cache[slots])


@wrong("first head's keys for all", "each head has keys of its own.")
def _(q, k_cache, v_cache, slots):
    k = np.repeat(k_cache[slots][:, :1], len(q), axis=1)
    return _attend(_softmax(_scores(q, k)), v_cache[slots])


@wrong("always float64", "the result has q's dtype: half the bytes were the point of storing float32.")
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache[slots])), v_cache[slots]).astype(np.float64)


@right("gather, then einsum")
def _(q, k_cache, v_cache, slots):
    return _attend(_softmax(_scores(q, k_cache[slots])), v_cache[slots])


@right("head by head, with matrix products")
def _(q, k_cache, v_cache, slots):
    out = np.empty_like(q)
    for head in range(len(q)):
        scores = k_cache[slots, head] @ q[head] / np.sqrt(q.shape[1])
        weights = np.exp(scores - scores.max())
        out[head] = weights @ v_cache[slots, head] / weights.sum()
    return out


@right("token by token, with a running maximum")
def _(q, k_cache, v_cache, slots):
    largest, total, weighted = np.full(len(q), -np.inf), np.zeros(len(q)), np.zeros(q.shape)
    for slot in slots:
        score = (q * k_cache[slot]).sum(axis=1) / math.sqrt(q.shape[1])
        new_largest = np.maximum(largest, score)
        shrink, weight = np.exp(largest - new_largest), np.exp(score - new_largest)
        total = total * shrink + weight
        weighted = weighted * shrink[:, None] + weight[:, None] * v_cache[slot]
        largest = new_largest
    return (weighted / total[:, None]).astype(q.dtype)


@right("slots sorted, for both caches")
def _(q, k_cache, v_cache, slots):
    slots = np.sort(slots)
    k, v = k_cache[slots].astype(np.float64), v_cache[slots].astype(np.float64)
    scores = (q[None] * k).sum(axis=2) * q.shape[1] ** -0.5
    logs = scores - np.logaddexp.reduce(scores, axis=0)
    return (np.exp(logs)[:, :, None] * v).sum(axis=0).astype(q.dtype)
