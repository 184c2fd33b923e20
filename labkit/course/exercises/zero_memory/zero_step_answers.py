"""The banks of `zero_step`: steps that are wrong in one thing each, and right ones that differ in kind."""

from collections.abc import Callable

import numpy as np

from labkit.course.exercises.zero_memory.zero_step import zero_step

# --- wrong ones: each is this step with one thing changed -------------------------------------------------


def _pad(array, multiple):
    return np.concatenate([array, np.zeros(-array.size % multiple)])


class _Step:
    """A right step in parts, for others to spoil."""

    def step(self, ranks, batches, model, optimizer, stage, ring):
        count = len(ranks)
        sums = self.summed(ranks, batches, model, stage, ring)
        if stage == 0:
            sums = ring.all_reduce(sums)
        if stage == 1:
            sums = self.scatter(sums, stage, ring)
        grads = [each / self.divisor(count, len(batches[0])) for each in sums]
        params, states = [], []
        for r, rank in enumerate(ranks):
            own, state = self.update(optimizer, self.own_part(rank.params, r, count, stage), grads[r], rank, stage)
            params.append(own)
            states.append(state)
        params = self.after(params, ranks, stage, ring)
        return self.new_ranks(ranks, params, grads, states, stage)

    def summed(self, ranks, batches, model, stage, ring):
        sums = []
        for k in range(len(batches[0])):
            local = self.local(ranks, [batch[k] for batch in batches], model, stage, ring)
            if stage >= 2:
                local = self.scatter(local, stage, ring)
            sums = [a + b for a, b in zip(sums, local, strict=True)] if sums else local
        return sums

    def local(self, ranks, batch, model, stage, ring):
        forward = self.whole(ranks, model, stage, ring)
        saved = [model.forward(p, b) for p, b in zip(forward, batch, strict=True)]
        backward = self.again(forward, ranks, model, stage, ring)
        grads = [model.backward(p, s) for p, s in zip(backward, saved, strict=True)]
        return grads if stage == 0 else [self.pad(each, len(ranks)) for each in grads]

    def whole(self, ranks, model, stage, ring):
        held = [rank.params for rank in ranks]
        return [params[: model.num_params] for params in (ring.all_gather(held) if stage == 3 else held)]

    def again(self, forward, ranks, model, stage, ring):
        return self.whole(ranks, model, stage, ring)

    def pad(self, gradient, count):
        return _pad(gradient, count)

    def scatter(self, arrays, stage, ring):
        return ring.reduce_scatter(arrays)

    def divisor(self, count, micro_batches):
        return count * micro_batches

    def own_part(self, params, r, count, stage):
        return np.split(params, count)[r] if stage in (1, 2) else params

    def update(self, optimizer, own, grads, rank, stage):
        return optimizer.update(own, grads, rank.optimizer)

    def after(self, params, ranks, stage, ring):
        return ring.all_gather(params) if stage in (1, 2) else params

    def new_ranks(self, ranks, params, grads, states, stage):
        return [type(ranks[0])(*parts) for parts in zip(params, grads, states, strict=True)]


def _wrong(name: str, sentence: str) -> Callable[[type[_Step]], type[_Step]]:
    def add(kind: type[_Step]) -> type[_Step]:
        zero_step.wrong(name, sentence)(kind().step)
        return kind

    return add


@_wrong("sum in place of the mean", "divide by N·K. Adam hides this almost completely, SGD does not.")
class SumInPlaceOfTheMean(_Step):
    def divisor(self, count, micro_batches):
        return micro_batches


@_wrong("divided by N twice", "the mean is taken once: by the loss of each batch, and then over N·K batches.")
class DividedByNTwice(_Step):
    def divisor(self, count, micro_batches):
        return count * count * micro_batches


@_wrong("micro-batches summed", "the gradient is the mean over all N·K micro-batches, not over the ranks only.")
class MicroBatchesSummed(_Step):
    def divisor(self, count, micro_batches):
        return count


@_wrong("local gradients", "every rank saw other data: without a reduction each trains a model of its own.")
class LocalGradients(_Step):
    def scatter(self, arrays, stage, ring):
        return [np.split(array, ring.world_size)[r] * ring.world_size for r, array in enumerate(arrays)]


@_wrong("shard 0 on every rank", "rank r owns part r of the parameters, and gets part r of the gradients.")
class Shard0OnEveryRank(_Step):
    def own_part(self, params, r, count, stage):
        return super().own_part(params, 0, count, stage)


@_wrong("no padding", "the ring gives every rank an equal part: pad the gradient to a multiple of N.")
class NoPadding(_Step):
    def pad(self, gradient, count):
        return gradient


@_wrong("padding given to the model", "a gathered array ends with padding: the model wants num_params of it.")
class PaddingGivenToTheModel(_Step):
    def whole(self, ranks, model, stage, ring):
        held = [rank.params for rank in ranks]
        return ring.all_gather(held) if stage == 3 else held


@_wrong("padding at the front", "place pads at the end: part r begins at r times the shard's length.")
class PaddingAtTheFront(_Step):
    def pad(self, gradient, count):
        return _pad(gradient[::-1], count)[::-1].copy()


@_wrong("no gather after the update", "a rank has updated one part only: it needs the others for its next forward.")
class NoGatherAfterTheUpdate(_Step):
    def after(self, params, ranks, stage, ring):
        if stage not in (1, 2):
            return params
        new = [np.split(rank.params, len(ranks)) for rank in ranks]
        for r, own in enumerate(params):
            new[r][r] = own
        return [np.concatenate(parts) for parts in new]


@_wrong("old shards gathered", "gather what was updated, not what was there before.")
class OldShardsGathered(_Step):
    def after(self, params, ranks, stage, ring):
        if stage not in (1, 2):
            return params
        old = [np.split(rank.params, len(ranks))[r] for r, rank in enumerate(ranks)]
        gathered = ring.all_gather(old)
        return [
            np.concatenate([own if part == r else piece for part, piece in enumerate(np.split(whole, len(ranks)))])
            for r, (own, whole) in enumerate(zip(params, gathered, strict=True))
        ]


@_wrong("shards in another order", "all_gather joins the shards in the order of the list: rank 0's first.")
class ShardsInAnotherOrder(_Step):
    def after(self, params, ranks, stage, ring):
        return super().after(params[::-1], ranks, stage, ring) if stage in (1, 2) else params

    def whole(self, ranks, model, stage, ring):
        return super().whole(ranks[::-1] if stage == 3 else ranks, model, stage, ring)


@_wrong(
    "the optimizer's state started anew",
    "momentum and variance come from the step before: pass the state on, and keep the new one.",
)
class TheOptimizerSStateStartedAnew(_Step):
    def update(self, optimizer, own, grads, rank, stage):
        return optimizer.update(own, grads, optimizer.start(own))


@_wrong("step counter stuck", "Adam's correction needs the number of the step: keep the whole state, step included.")
class StepCounterStuck(_Step):
    def update(self, optimizer, own, grads, rank, stage):
        params, state = optimizer.update(own, grads, rank.optimizer)
        return params, {**state, "step": rank.optimizer["step"]} if "step" in state else state


@_wrong("first micro-batch only", "every micro-batch of the step counts: add their gradients.")
class FirstMicroBatchOnly(_Step):
    def summed(self, ranks, batches, model, stage, ring):
        return super().summed(ranks, [batch[:1] for batch in batches], model, stage, ring)


@_wrong("last micro-batch only", "the gradients of the micro-batches before it are overwritten: add them.")
class LastMicroBatchOnly(_Step):
    def summed(self, ranks, batches, model, stage, ring):
        for k in range(len(batches[0])):
            sums = super().summed(ranks, [[batch[k]] for batch in batches], model, stage, ring)
        return sums


@_wrong("an update for every micro-batch", "micro-batches of one step share one update.")
class AnUpdateForEveryMicroBatch(_Step):
    def step(self, ranks, batches, model, optimizer, stage, ring):
        for k in range(len(batches[0])):
            ranks = super().step(ranks, [[batch[k]] for batch in batches], model, optimizer, stage, ring)
        return ranks


@_wrong("written into the ranks", "the ranks it was given belong to the caller: make new arrays.")
class WrittenIntoTheRanks(_Step):
    def new_ranks(self, ranks, params, grads, states, stage):
        for rank, new in zip(ranks, params, strict=True):
            rank.params[:] = new
        return super().new_ranks(ranks, [rank.params for rank in ranks], grads, states, stage)


@_wrong("parameters only", "a rank is its parameters, gradients and optimizer state: return all of it.")
class ParametersOnly(_Step):
    def new_ranks(self, ranks, params, grads, states, stage):
        return params


# Right numbers from here on: only the ledger sees these.


@_wrong(
    "whole gradients kept at stage 2", "the numbers are right; from stage 2 on a rank keeps its shard of gradients."
)
class WholeGradientsKeptAtStage2(_Step):
    def new_ranks(self, ranks, params, grads, states, stage):
        kept = [np.tile(each, len(ranks)) if stage >= 2 else each for each in grads]
        return super().new_ranks(ranks, params, kept, states, stage)


@_wrong(
    "gathered parameters kept at stage 3",
    "the numbers are right; at stage 3 a rank keeps its shard and drops the rest.",
)
class GatheredParametersKeptAtStage3(_Step):
    def own_part(self, params, r, count, stage):
        return super().own_part(params, r, count, 1 if stage == 3 and params.size > self.shard else stage)

    def step(self, ranks, batches, model, optimizer, stage, ring):
        self.shard = -(-model.num_params // len(ranks))
        return super().step(ranks, batches, model, optimizer, stage, ring)

    def whole(self, ranks, model, stage, ring):
        shards = [self.own_part(rank.params, r, len(ranks), stage) for r, rank in enumerate(ranks)]
        return (
            [params[: model.num_params] for params in ring.all_gather(shards)]
            if stage == 3
            else super().whole(ranks, model, stage, ring)
        )

    def new_ranks(self, ranks, params, grads, states, stage):
        kept = [np.concatenate(params)] * len(ranks) if stage == 3 else params
        return super().new_ranks(ranks, kept, grads, states, stage)


@_wrong("whole optimizer state", "the numbers are right; from stage 1 on a rank keeps the state of its own part only.")
class WholeOptimizerState(_Step):
    def update(self, optimizer, own, grads, rank, stage):
        held = {k: v[: own.size] if isinstance(v, np.ndarray) else v for k, v in rank.optimizer.items()}
        params, state = optimizer.update(own, grads, held)
        return params, {k: np.tile(v, 2) if isinstance(v, np.ndarray) and stage else v for k, v in state.items()}


@_wrong(
    "all-reduce in place of reduce-scatter", "the numbers are right; a rank needs one part of the sum, in one pass."
)
class AllReduceInPlaceOfReduceScatter(_Step):
    def scatter(self, arrays, stage, ring):
        return [np.split(whole, ring.world_size)[r] for r, whole in enumerate(ring.all_reduce(arrays))]


@_wrong("reduced for every micro-batch at stage 1", "stage 1 has room for whole gradients: add up, and reduce once.")
class ReducedForEveryMicroBatchAtStage1(_Step):
    def step(self, ranks, batches, model, optimizer, stage, ring):
        extra = len(batches[0]) - 1 if stage == 1 else 0
        for _ in range(extra):
            ring.reduce_scatter([self.pad(np.zeros(model.num_params), len(ranks)) for _ in ranks])
        return super().step(ranks, batches, model, optimizer, stage, ring)


@_wrong("reduced once at stage 2", "the numbers are right; stage 2 has no room for whole gradients: reduce after each.")
class ReducedOnceAtStage2(_Step):
    def summed(self, ranks, batches, model, stage, ring):
        if stage != 2:
            return super().summed(ranks, batches, model, stage, ring)
        return self.scatter(super().summed(ranks, batches, model, 1, ring), stage, ring)


@_wrong(
    "gathered once for forward and backward", "stage 3 drops each layer after forward, so backward gathers it again."
)
class GatheredOnceForForwardAndBackward(_Step):
    def again(self, forward, ranks, model, stage, ring):
        return forward


@_wrong("gathered after the update at stage 3", "the next forward gathers anyway: nothing is sent after the update.")
class GatheredAfterTheUpdateAtStage3(_Step):
    def after(self, params, ranks, stage, ring):
        if stage == 3:
            ring.all_gather(params)
        return super().after(params, ranks, stage, ring)


@_wrong("nothing sent", "ranks cannot read each other's memory: what a rank gets comes through the ring.")
class NothingSent(_Step):
    def scatter(self, arrays, stage, ring):
        return np.split(sum(arrays), ring.world_size)

    def whole(self, ranks, model, stage, ring):
        held = [rank.params for rank in ranks]
        return [(np.concatenate(held) if stage == 3 else params)[: model.num_params] for params in held]

    def after(self, params, ranks, stage, ring):
        return [np.concatenate(params) for _ in ranks] if stage in (1, 2) else params


# --- right ones -------------------------------------------------------------------------------------------


@zero_step.right("in parts")
def _(ranks, batches, model, optimizer, stage, ring):
    return _Step().step(ranks, batches, model, optimizer, stage, ring)


@zero_step.right("the mean first, gradients freed after the step")
def _(ranks, batches, model, optimizer, stage, ring):
    count, micro = len(ranks), len(batches[0])
    total = [0] * count
    for k in range(micro):
        whole = ring.all_gather([rank.params for rank in ranks]) if stage == 3 else [rank.params for rank in ranks]
        saved = [model.forward(whole[r][: model.num_params], batches[r][k]) for r in range(count)]
        whole = ring.all_gather([rank.params for rank in ranks]) if stage == 3 else whole
        grads = [model.backward(whole[r][: model.num_params], saved[r]) / (count * micro) for r in range(count)]
        grads = [_pad(each, count) for each in grads] if stage else grads
        grads = ring.reduce_scatter(grads) if stage > 1 else grads
        total = [a + b for a, b in zip(total, grads, strict=True)]
    total = {0: ring.all_reduce, 1: ring.reduce_scatter}.get(stage, list)(total)
    new, freed = [], np.empty(0)
    for r, rank in enumerate(ranks):
        own = rank.params.reshape(count, -1)[r] if stage in (1, 2) else rank.params
        new.append(optimizer.update(own, total[r], rank.optimizer))
    gathered = ring.all_gather([params for params, _ in new]) if stage in (1, 2) else [params for params, _ in new]
    return [type(ranks[0])(params, freed, state) for params, (_, state) in zip(gathered, new, strict=True)]


@zero_step.right("a branch for each stage, broadcasts in place of the gather")
def _(ranks, batches, model, optimizer, stage, ring):
    count, size = len(ranks), model.num_params
    each = list(zip(*batches, strict=True))  # each[k] has a batch of every rank

    def gradient(params, batch):
        return model.backward(params[:size], model.forward(params[:size], batch))

    def stage_3_gradients(batch):
        for_forward = ring.all_gather([rank.params for rank in ranks])
        saved = [model.forward(p[:size], b) for p, b in zip(for_forward, batch, strict=True)]
        for_backward = ring.all_gather([rank.params for rank in ranks])
        return [model.backward(p[:size], s) for p, s in zip(for_backward, saved, strict=True)]

    def scatter(grads):
        return ring.reduce_scatter([_pad(g, count) for g in grads])

    if stage == 0:
        local = [sum(gradient(rank.params, b) for b in batches[r]) for r, rank in enumerate(ranks)]
        mean = [g / count / len(each) for g in ring.all_reduce(local)]
        updated = [optimizer.update(rank.params, mean[r], rank.optimizer) for r, rank in enumerate(ranks)]
        return [type(ranks[0])(p, mean[r], s) for r, (p, s) in enumerate(updated)]
    if stage == 1:
        shards = scatter([sum(gradient(rank.params, b) for b in batches[r]) for r, rank in enumerate(ranks)])
    elif stage == 2:
        shards = np.sum([scatter([gradient(r.params, b) for r, b in zip(ranks, bs, strict=True)]) for bs in each], 0)
    else:
        shards = np.sum([scatter(stage_3_gradients(batch)) for batch in each], axis=0)
    shards = [shard / (count * len(each)) for shard in shards]
    owned = [rank.params if stage == 3 else np.split(rank.params, count)[r] for r, rank in enumerate(ranks)]
    updated = [optimizer.update(p, g, rank.optimizer) for p, g, rank in zip(owned, shards, ranks, strict=True)]
    if stage == 3:
        return [type(ranks[0])(p, g, s) for (p, s), g in zip(updated, shards, strict=True)]
    copies = [ring.broadcast(p, r) for r, (p, _) in enumerate(updated)]  # copies[owner][receiver]
    wholes = [np.concatenate([copies[owner][r] for owner in range(count)]) for r in range(count)]
    return [type(ranks[0])(w, g, s) for w, g, (_, s) in zip(wholes, shards, updated, strict=True)]
