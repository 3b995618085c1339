"""The arrays of a graph, and what is read off or cut from them alone.

Whatever asks more of a graph (bounds, levels, exports, ...) takes a `Structure`;
`Graph` is one with these questions as its methods.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int

from sparsejax import checks, trees
from sparsejax.flowgraph._ops import OPS

PLAIN = ("input", "const", "affine", "output")
LEVELS = ("scalar", "dot", "neuron")

_Self = TypeVar("_Self", bound="Structure")  # typing.Self, which beartype refuses


class TooLarge(ValueError):
    """A graph is larger than the limit of what was asked of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """Scalar nodes and the edges between them; the fields are those of `Graph`."""

    ops: tuple[str, ...]
    starts: Int[np.ndarray, " nodes_and_one"]
    args: Int[np.ndarray, " edges"]
    coefs: Float[np.ndarray, " edges"]
    consts: Float[np.ndarray, " nodes"]
    keys: tuple[str, ...]
    inputs: Int[np.ndarray, " used"]
    outputs: Int[np.ndarray, " outputs"]
    output_names: tuple[str, ...]
    shape: tuple[int, ...]
    input_names: tuple[str, ...]
    low: Float[np.ndarray, " inputs"]
    high: Float[np.ndarray, " inputs"]
    image: tuple[int, ...] | None = None
    functions: Mapping[str, "Structure"] = dataclasses.field(default_factory=dict)
    level: str = "dot"

    def __len__(self) -> int:
        return len(self.ops)

    def __repr__(self) -> str:
        return (
            f"Graph({self.num_vertices:,} vertices, {self.num_edges:,} edges, "
            f"{len(self.inputs):,} of {len(self.low):,} inputs, "
            f"{len(self.outputs):,} outputs, level={self.level!r})"
        )

    @property
    def num_vertices(self) -> int:
        """Number of nodes."""
        return len(self.ops)

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return len(self.args)

    def operands(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """The nodes that a node reads, and their coefficients."""
        edges = slice(self.starts[node], self.starts[node + 1])
        return self.args[edges], self.coefs[edges]

    @functools.cached_property
    def depth(self) -> Int[np.ndarray, " nodes"]:
        """Length of the longest path from an input or a constant to every node."""
        depth = np.zeros(len(self), np.int64)
        for i in range(len(self)):
            args = self.args[self.starts[i] : self.starts[i + 1]]
            if len(args):
                depth[i] = depth[args].max() + 1
        return depth

    @functools.cached_property
    def readers(self) -> list[list[int]]:
        """The nodes that read every node."""
        readers: list[list[int]] = [[] for _ in self.ops]
        targets = np.repeat(np.arange(len(self)), np.diff(self.starts))
        for source, target in zip(self.args.tolist(), targets.tolist(), strict=True):
            readers[source].append(target)
        return readers

    def subgraph(self: _Self, outputs: int | str | Iterable) -> _Self:
        """What some of the outputs are computed from.

        Args:
            outputs: one or several, by name or by position among `outputs`.

        Returns:
            A graph of these outputs, in the order given.
        """
        chosen = [output_position(self, output) for output in checks.several(outputs)]
        if not chosen:
            raise ValueError("subgraph needs at least one output")
        return dataclasses.replace(
            self,
            outputs=self.outputs[chosen],
            output_names=tuple(self.output_names[i] for i in chosen),
        ).live()

    def live(self: _Self) -> _Self:
        """Without the nodes from which no output can be reached."""
        keep = np.zeros(len(self), bool)
        keep[self.outputs] = True
        for i in range(len(self) - 1, -1, -1):
            if keep[i]:
                keep[self.args[self.starts[i] : self.starts[i + 1]]] = True
        if keep.all():
            return self
        new = np.cumsum(keep) - 1
        edges = np.repeat(keep, np.diff(self.starts))
        lengths = np.diff(self.starts)[keep]
        ops = tuple(op for op, kept in zip(self.ops, keep, strict=True) if kept)
        return dataclasses.replace(
            self,
            ops=ops,
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            args=new[self.args[edges]],
            coefs=self.coefs[edges],
            consts=self.consts[keep],
            keys=tuple(k for k, kept in zip(self.keys, keep, strict=True) if kept),
            inputs=self.inputs[keep[: len(self.inputs)]],
            outputs=new[self.outputs],
            functions={name: f for name, f in self.functions.items() if name in ops},
        )


AnyStructure = TypeVar("AnyStructure", bound=Structure)


def arrays(nodes: Sequence[tuple]) -> dict[str, Any]:
    """The fields of a `Structure` that say what its nodes are.

    Args:
        nodes: (op, args, coefs, const, key) each, the inputs first.
    """
    lengths = [len(args) for _, args, *_ in nodes]

    def join(parts, dtype):
        return np.array([value for part in parts for value in part], dtype)

    return {
        "ops": tuple(node[0] for node in nodes),
        "starts": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "args": join((node[1] for node in nodes), np.int64),
        "coefs": join((node[2] for node in nodes), np.float64),
        "consts": np.array([node[3] for node in nodes], np.float64),
        "keys": tuple(node[4] for node in nodes),
    }


def build(nodes: Sequence[tuple], like: AnyStructure, **fields: Any) -> AnyStructure:
    """A graph with other nodes.

    Args:
        nodes: (op, args, coefs, const, key) each, the inputs first.
        like: graph that the other fields, and the class, come from.
        fields: those that differ from it.
    """
    return dataclasses.replace(like, **fields, **arrays(nodes))


def nodes(graph: Structure) -> list[tuple]:
    """The inverse of `arrays`: (op, args, coefs, const, key) of every node."""
    spans = zip(graph.starts[:-1].tolist(), graph.starts[1:].tolist(), strict=True)
    args, coefs = graph.args.tolist(), graph.coefs.tolist()
    rows = zip(graph.ops, spans, graph.consts.tolist(), graph.keys, strict=True)
    return [(op, args[a:b], coefs[a:b], const, key) for op, (a, b), const, key in rows]


def unique(keys: Sequence[str]) -> list[str]:
    """The keys, with #2, #3, ... where one has been there before."""
    seen: set[str] = set()
    found = []
    for key in keys:
        numbered = (f"{key}#{n}" for n in itertools.count(2))
        found.append(next(k for k in itertools.chain([key], numbered) if k not in seen))
        seen.add(found[-1])
    return found


def arity(graph: Structure, op: str) -> int:
    """Number of operands of an operation; 0 for any number."""
    if op in graph.functions:
        return math.prod(graph.functions[op].shape)
    return 1 if op in ("affine", "output") else OPS[op].arity


def output_position(graph: Structure, output: int | str) -> int:
    """The place among a graph's outputs of one, by name or by position."""
    if isinstance(output, str):
        if output not in graph.output_names:
            raise ValueError(
                f"no output {output!r}; there are {trees.listed(graph.output_names)}"
            )
        return graph.output_names.index(output)
    if not -len(graph.outputs) <= output < len(graph.outputs):
        raise ValueError(
            f"no output {output}: the graph has {len(graph.outputs)}, counted from 0"
        )
    return int(output) % len(graph.outputs)
