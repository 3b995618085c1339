"""A network as a graph of scalars, and what can be asked of it.

Use `trace` to make one from a JAX function. A graph is a few flat arrays, nodes in an
order in which every node comes after its operands: small enough to save, to send and to
read. All its methods are pure and return new graphs or arrays.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from sparsejax import checks, trees
from sparsejax.flowgraph.ops import OPS

PLAIN = ("input", "const", "affine", "output")
LEVELS = ("scalar", "dot", "neuron")


class TooLarge(ValueError):
    """A graph is larger than the limit of what was asked of it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Scalar nodes and the edges between them.

    Node i reads `args[starts[i]:starts[i + 1]]`, all smaller than i, each times its
    coefficient in `coefs`. With s their sum plus `consts[i]`, its value is

        input   the element `inputs[i]` of the function's flattened input
        const   `consts[i]`
        affine  s
        output  s (in scalar graphs: the box of an output)
        relu, tanh, ... any other operation of one operand: that of s
        mul, max, select, ... of several operands: of those; coefficients are 1

    An operation in `functions` is itself a graph, of its operands.

    Attributes:
        ops: operation of every node.
        starts: shape (nodes + 1,).
        args: shape (edges,).
        coefs: shape (edges,).
        consts: shape (nodes,).
        keys: a name of every node that stays the same when the same architecture is
            traced with other weights: `x[3]`, `hidden_0[7]`, `hidden_0.in[7]`.
        inputs: flat positions of the inputs that are read; nodes 0, 1, ... in order.
        outputs: node of every output.
        output_names: name of every output.
        shape: of the function's input.
        input_names: name of every element of the flattened input, read or not.
        low, high: the domain of every element of the flattened input.
        image: (height, width) or (height, width, channels) if the input is a picture.
        functions: operations that are graphs themselves, by name.
        level: "scalar", "dot" or "neuron": how much one node does.
    """

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
    functions: Mapping[str, "Graph"] = dataclasses.field(default_factory=dict)
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

    def count(self, convention: str = "published") -> tuple[int, int]:
        """Vertices and edges as a publication counts them.

        Args:
            convention: "published" for Böhm et al. 2020, as far as it can be
                reconstructed: a box for every weight, for every sum of two terms or
                more, for every bias, for every nonlinearity and for every output; or
                a level.
        """
        if convention == "published":
            convention = "scalar"
        graph = self.at(convention)
        return graph.num_vertices, graph.num_edges

    def subgraph(self, outputs: int | str | Iterable) -> "Graph":
        """What some of the outputs are computed from.

        Args:
            outputs: one or several, by name or by position among `outputs`.

        Returns:
            A graph of these outputs, in the order given.
        """
        chosen = [self._output(output) for output in checks.several(outputs)]
        if not chosen:
            raise ValueError("subgraph needs at least one output")
        return dataclasses.replace(
            self,
            outputs=self.outputs[chosen],
            output_names=tuple(self.output_names[i] for i in chosen),
        ).live()

    def live(self) -> "Graph":
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

    def at(self, level: str) -> "Graph":
        """The same function with coarser or finer nodes.

        Args:
            level: "scalar": a box for every product, sum, bias and output; "dot": a
                node is a whole dot product or a nonlinearity; "neuron": a dot product
                and its nonlinearity are one.
        """
        from sparsejax.flowgraph import levels

        return levels.at(self, level)

    def evaluate(self, x: ArrayLike) -> Float[Array, "*batch nodes"]:
        """The value of every node.

        Args:
            x: inputs of shape `(*batch, *shape)`.
        """
        from sparsejax.flowgraph import evaluate

        return evaluate.nodes(self, x)

    def __call__(self, x: ArrayLike) -> Float[Array, "*batch outputs"]:
        """The outputs for inputs of shape `(*batch, *shape)`."""
        return self.evaluate(x)[..., self.outputs]

    def check(self, fn: Callable, x: ArrayLike) -> float:
        """Largest difference between the graph's outputs and a function's.

        Args:
            fn: the function of one input that the graph was traced from.
            x: a batch of inputs, shape `(batch, *shape)`.
        """
        from sparsejax.flowgraph import evaluate

        return evaluate.check(self, fn, x)

    def relevance(self, x: ArrayLike, output: int | str | None = None) -> Any:
        """What inputs, edges and biases have to do with an output, in float64.

        Inputs, biases and constants add up to the output; see `flowgraph.relevance`.

        Args:
            x: inputs of shape `(*batch, *shape)`.
            output: its name or position; may be left out where there is only one.

        Returns:
            `input`, `nodes`, `edges`, `bias`, `constants` of a `relevance.Relevance`.

        Raises:
            ValueError: for an input of another shape, no such output, or values that
                are not finite.
        """
        from sparsejax.flowgraph import relevance

        return relevance.relevance(self, x, output)

    def bounds(self, method: str = "interval", **options: Any) -> Any:
        """Ranges of the nodes over the domain; see `flowgraph.bounds.bounds`."""
        from sparsejax.flowgraph import bounds

        return bounds.bounds(self, method, **options)

    def simplify(self, stable: str = "off") -> "Graph":
        """Use the bounds to make the graph simpler; see `flowgraph.simplify`."""
        from sparsejax.flowgraph import simplify

        return simplify.simplify(self, stable)

    def flags(self, x: ArrayLike | None = None) -> list[Any]:
        """What is constant, ignored, dead or double; see `flowgraph.flags.flags`."""
        from sparsejax.flowgraph import flags

        return flags.flags(self, x)

    def diff(self, other: "Graph") -> Any:
        """How another graph differs from this one; see `flowgraph.diff.diff`."""
        from sparsejax.flowgraph import diff

        return diff.diff(self, other)

    def to_json(self) -> str:
        """The whole graph as text; `flowgraph.from_json` reads it."""
        from sparsejax.flowgraph.export import json

        return json.to_json(self)

    def to_dot(self) -> str:
        """A graph description for Graphviz."""
        from sparsejax.flowgraph.export import dot

        return dot.to_dot(self)

    def to_pydot(self) -> Any:
        """A `pydot.Dot`."""
        from sparsejax.flowgraph.export import dot

        return dot.to_pydot(self)

    def to_svg(self, x: ArrayLike | None = None) -> str:
        """A drawing, with the values for one input if one is given."""
        from sparsejax.flowgraph.export import svg

        return svg.to_svg(self, x)

    def to_graphml(self) -> str:
        """GraphML, for Gephi, yEd or networkx."""
        from sparsejax.flowgraph.export import graphml

        return graphml.to_graphml(self)

    def to_networkx(self) -> Any:
        """A `networkx.MultiDiGraph`; networkx must be installed."""
        from sparsejax.flowgraph.export import graphml

        return graphml.to_networkx(self)

    def to_python(self) -> str:
        """Python source of the same function, with the standard library alone."""
        from sparsejax.flowgraph.export import source

        return source.to_python(self)

    def to_c(self) -> str:
        """C99 source of the same function."""
        from sparsejax.flowgraph.export import source

        return source.to_c(self)

    def save_html(self, path: str | Path, **options: Any) -> None:
        """Write the page; see `flowgraph.export.html.save_html`."""
        from sparsejax.flowgraph.export import html

        html.save_html(self, path, **options)

    def _output(self, output: int | str) -> int:
        if isinstance(output, str):
            if output not in self.output_names:
                raise ValueError(
                    f"no output {output!r}; there are {trees.listed(self.output_names)}"
                )
            return self.output_names.index(output)
        if not -len(self.outputs) <= output < len(self.outputs):
            raise ValueError(
                f"no output {output}: the graph has {len(self.outputs)}, counted from 0"
            )
        return int(output) % len(self.outputs)


def build(nodes: Sequence[tuple], like: Graph | None = None, **fields: Any) -> Graph:
    """A graph from a list of nodes.

    Args:
        nodes: (op, args, coefs, const, key) each, the inputs first.
        like: where the other fields come from.
        fields: those that differ from it, or all of them.
    """
    lengths = [len(args) for _, args, *_ in nodes]

    def join(parts, dtype):
        return np.array([value for part in parts for value in part], dtype)

    fields |= {
        "ops": tuple(node[0] for node in nodes),
        "starts": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "args": join((node[1] for node in nodes), np.int64),
        "coefs": join((node[2] for node in nodes), np.float64),
        "consts": np.array([node[3] for node in nodes], np.float64),
        "keys": tuple(node[4] for node in nodes),
    }
    return Graph(**fields) if like is None else dataclasses.replace(like, **fields)


def function(nodes: Sequence[tuple], output: int) -> Graph:
    """An operation of one operand, as a graph for `Graph.functions`.

    Args:
        nodes: as in `build`; the first is the operand.
        output: the node of the result.
    """
    return build(
        nodes,
        inputs=np.arange(1),
        outputs=np.array([output]),
        output_names=("y",),
        shape=(1,),
        input_names=("x",),
        low=np.full(1, -np.inf),
        high=np.full(1, np.inf),
    ).live()


def nodes(graph: Graph) -> list[tuple]:
    """The inverse of `build`."""
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


def arity(graph: Graph, op: str) -> int:
    """Number of operands of an operation; 0 for any number."""
    if op in graph.functions:
        return math.prod(graph.functions[op].shape)
    return 1 if op in ("affine", "output") else OPS[op].arity
