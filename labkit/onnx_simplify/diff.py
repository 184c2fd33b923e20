"""What became of each node between two versions of a graph: kept, removed, folded to a constant, fused, added.

Tools rename values, so nodes are paired by what they have in common: the name of their output, then their own name,
then their place among the nodes of the same type.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

import onnx

from labkit.onnx_file import subgraphs
from labkit.onnx_simplify.counting import op_name
from labkit.onnx_simplify.editing import Scope, array_of
from labkit.onnx_simplify.single_node import RANDOM_OPS

KEPT = "kept"
REMOVED = "removed"  # whoever read it reads something else, or nobody did
FOLDED = "folded"  # computed beforehand: its value is a constant now
FUSED = "fused"  # its work is done by another node
CHANGED = "changed"  # of the later graph: the same node with other weights or attributes, so it took something in
ADDED = "added"


@dataclass(frozen=True)
class GraphDiff:
    """before, after: a word for each node of the main graph, in the order of the file; ops_*: their types.

    after says kept, changed or added; before says kept, removed, folded or fused.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    ops_before: tuple[str, ...]
    ops_after: tuple[str, ...]

    def ops(self, status: str) -> dict[str, int]:
        """Nodes with this word by type, the commonest first: ops("fused") is {"BatchNormalization": 3}."""
        pairs = [*zip(self.before, self.ops_before, strict=True)]
        if status in (CHANGED, ADDED):
            pairs = [*zip(self.after, self.ops_after, strict=True)]
        counts = Counter(op for word, op in pairs if word == status)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def __str__(self) -> str:
        said = [
            f"{sum(counts.values())} {how} ({', '.join(f'{op} {n}' for op, n in counts.items())})"
            for word, how in _SAID.items()
            if (counts := self.ops(word))
        ]
        nodes = f"{len(self.before)} nodes before, {len(self.after)} after"
        return f"{nodes}: {'; '.join(said)}." if said else f"{nodes}: nothing changed."


_SAID = {
    FOLDED: "folded into constants",
    FUSED: "fused into other nodes",
    REMOVED: "removed",
    CHANGED: "changed",
    ADDED: "added",
}


def graph_diff(before: onnx.ModelProto, after: onnx.ModelProto) -> GraphDiff:
    """What became of the nodes of `before`'s main graph in `after`."""
    twins = _twins(before.graph, after.graph)
    scopes = Scope.of(before), Scope.of(after)
    changed = {there for here, there in twins.items() if not _same_work(here, scopes[0], there, scopes[1])}
    known = set(twins.values())
    statuses_after = tuple(
        ADDED if at not in known else CHANGED if at in changed else KEPT for at in range(len(after.graph.node))
    )
    return GraphDiff(
        before=_statuses_before(scopes[0], scopes[1], twins, statuses_after),
        after=statuses_after,
        ops_before=tuple(op_name(node) for node in before.graph.node),
        ops_after=tuple(op_name(node) for node in after.graph.node),
    )


def _twins(before: onnx.GraphProto, after: onnx.GraphProto) -> dict[int, int]:
    """{position of a node in before: position of the same node in after}."""
    twins: dict[int, int] = {}
    _pair(before, after, twins, lambda node: (op_name(node), next((name for name in node.output if name), "")))
    _pair(before, after, twins, lambda node: (op_name(node), node.name) if node.name else None)
    left = [at for at in range(len(before.node)) if at not in twins]
    taken = set(twins.values())
    right = [at for at in range(len(after.node)) if at not in taken]
    in_order = SequenceMatcher(
        None, [op_name(before.node[at]) for at in left], [op_name(after.node[at]) for at in right], autojunk=False
    )
    for block in in_order.get_matching_blocks():
        for offset in range(block.size):
            twins[left[block.a + offset]] = right[block.b + offset]
    return twins


def _pair(
    before: onnx.GraphProto,
    after: onnx.GraphProto,
    twins: dict[int, int],
    key: Callable[[onnx.NodeProto], Hashable | None],
) -> None:
    """Adds to twins the nodes whose key is unique on both sides."""
    taken = set(twins.values())
    here = _unique((at, key(node)) for at, node in enumerate(before.node) if at not in twins)
    there = _unique((at, key(node)) for at, node in enumerate(after.node) if at not in taken)
    twins.update({at: there[value] for value, at in here.items() if value in there})


def _unique(keyed: Iterable[tuple[int, Hashable | None]]) -> dict[Hashable, int]:
    places: dict[Hashable, list[int]] = defaultdict(list)
    for at, value in keyed:
        if value is not None:
            places[value].append(at)
    return {value: found[0] for value, found in places.items() if len(found) == 1}


def _same_work(here: int, before: Scope, there: int, after: Scope) -> bool:
    """Whether two nodes do the same apart from names: attributes, number of inputs, constants that both read."""
    old, new = before.graph.node[here], after.graph.node[there]
    if _attributes(old) != _attributes(new) or len(_trimmed(old.input)) != len(_trimmed(new.input)):
        return False
    constants = (
        (before.constants.get(ours), after.constants.get(theirs))
        for ours, theirs in zip(old.input, new.input, strict=False)
    )
    return all(_content(ours) == _content(theirs) for ours, theirs in constants if ours and theirs)


def _attributes(node: onnx.NodeProto) -> list[bytes]:
    return sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)


def _trimmed(inputs: Iterable[str]) -> list[str]:
    """The inputs without the empty ones at the end, which say that an optional input is not given."""
    names = list(inputs)
    while names and not names[-1]:
        names.pop()
    return names


def _content(tensor: onnx.TensorProto) -> tuple[int, tuple[int, ...], bytes]:
    return tensor.data_type, tuple(tensor.dims), array_of(tensor).tobytes()


def _known_beforehand(scope: Scope) -> set[str]:
    """The values that no input of the model has a part in, but for its type; an Identity computes nothing."""
    known = set(scope.constants)
    for node in scope.graph.node:
        read = {name for name in _values_read(node) if name}
        computes = op_name(node) not in {"Identity", *RANDOM_OPS} and not any(subgraphs(node))
        if computes and known.issuperset(read):
            known.update(name for name in node.output if name)
    return known


def _values_read(node: onnx.NodeProto) -> list[str]:
    """The inputs whose values matter: of CastLike's second one only the type does."""
    return list(node.input[:1] if op_name(node) == "CastLike" else node.input)


def _statuses_before(
    before: Scope, after: Scope, twins: dict[int, int], statuses_after: tuple[str, ...]
) -> tuple[str, ...]:
    graph = before.graph
    takes_over = {  # values of nodes that are new or changed
        name
        for node, status in zip(after.graph.node, statuses_after, strict=True)
        if status != KEPT
        for name in node.output
    }
    readers = defaultdict(set)
    for at, node in enumerate(graph.node):
        for name in node.input:
            readers[name].add(at)
    statuses: dict[int, str] = dict.fromkeys(twins, KEPT)
    known = _known_beforehand(before)
    for at in range(len(graph.node) - 1, -1, -1):  # readers first: what is read only by folded nodes is folded too
        if at in statuses:
            continue
        names = [name for name in graph.node[at].output if name]
        by = {statuses[reader] for name in names for reader in readers[name] if reader in statuses}
        if any(name in after.constants for name in names) or by == {FOLDED} or (by and known.issuperset(names)):
            statuses[at] = FOLDED
        elif any(name in takes_over for name in names) or (FUSED in by and KEPT not in by):
            statuses[at] = FUSED
        else:
            statuses[at] = REMOVED
    return tuple(statuses[at] for at in range(len(graph.node)))
