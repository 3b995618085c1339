"""A network as a graph of scalars, and what can be asked of it.

Use `trace` to make one from a JAX function. A graph is a few flat arrays, nodes in an
order in which every node comes after its operands: small enough to save, to send and to
read. All its methods are pure and return new graphs or arrays.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from sparsejax import pages
from sparsejax.flowgraph import (
    _bounds,
    _diff,
    _evaluate,
    _flags,
    _levels,
    _relevance,
    _simplify,
)
from sparsejax.flowgraph._bounds import Bounds
from sparsejax.flowgraph._diff import Diff
from sparsejax.flowgraph._export import dot, graphml, html, json, source, svg
from sparsejax.flowgraph._export.html import PageExtra
from sparsejax.flowgraph._flags import Flag
from sparsejax.flowgraph._relevance import Relevance
from sparsejax.flowgraph._structure import Structure, arrays


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Graph(Structure):
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

    functions: Mapping[str, "Graph"] = dataclasses.field(default_factory=dict)

    @pages.display
    def _repr_html_(self) -> str:
        return html.shown(self)

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

    def at(self, level: str) -> "Graph":
        """The same function with coarser or finer nodes.

        Args:
            level: "scalar": a box for every product, sum, bias and output; "dot": a
                node is a whole dot product or a nonlinearity; "neuron": a dot product
                and its nonlinearity are one.
        """
        return _levels.at(self, level)

    def evaluate(self, x: ArrayLike) -> Float[Array, "*batch nodes"]:
        """The value of every node.

        Args:
            x: inputs of shape `(*batch, *shape)`.
        """
        return _evaluate.nodes(self, x)

    def __call__(self, x: ArrayLike) -> Float[Array, "*batch outputs"]:
        """The outputs for inputs of shape `(*batch, *shape)`."""
        return _evaluate.outputs(self, x)

    def check(self, fn: Callable, x: ArrayLike) -> float:
        """Largest difference between the graph's outputs and a function's.

        Args:
            fn: the function of one input that the graph was traced from.
            x: a batch of inputs, shape `(batch, *shape)`.
        """
        return _evaluate.check(self, fn, x)

    def relevance(self, x: ArrayLike, output: int | str | None = None) -> Relevance:
        """What inputs, edges and biases have to do with an output, in float64.

        Inputs, biases and constants add up to the output; see `flowgraph.Relevance`.

        Args:
            x: inputs of shape `(*batch, *shape)`.
            output: its name or position; may be left out where there is only one.

        Raises:
            ValueError: for an input of another shape, no such output, or values that
                are not finite.
        """
        return _relevance.relevance(self, x, output)

    def bounds(
        self,
        method: str = "interval",
        *,
        x: ArrayLike | Any = None,
        nodes: int | str | Iterable | None = None,
        low: ArrayLike | None = None,
        high: ArrayLike | None = None,
        time_limit: float = 10.0,
        steps: int = 0,
    ) -> Bounds:
        """Ranges of nodes over the domain, a smaller box, or a batch.

        Args:
            method: "interval": once through the graph, holds but may be too wide;
                "linear": never wider than that, each node followed back to the inputs
                by lines below and above its operations (CROWN); "exact": two
                mixed-integer programs a node, with the inputs that reach the ends;
                "observed": of a batch, promises nothing else.
            x: inputs of shape `(batch, *shape)`, to observe.
            nodes: one or several ids or keys; "outputs"; or None for the outputs where
                they are linear or exact, and for every node otherwise.
            low, high: another box than the graph's domain: scalars, or of the input's
                shape. For a box around one input, or the range of each pixel in the
                data.
            time_limit: seconds for each of the two programs of an exact range. One that
                is stopped still gives a bound that holds, and its gap.
            steps: of linear bounds, how often their slopes are improved, for each node
                and end on its own; 20 is plenty.

        Raises:
            ValueError: for an unknown method or node, an empty box, a missing `x`; for
                exact bounds, for an operation that is not piecewise linear.
        """
        return _bounds.bounds(
            self,
            method,
            x=x,
            nodes=nodes,
            low=low,
            high=high,
            time_limit=time_limit,
            steps=steps,
        )

    def simplify(self, stable: str = "off") -> "Graph":
        """A graph of the same function on its domain, by what its bounds prove.

        Args:
            stable: one of `flowgraph.SIMPLIFY_POLICIES`. "off": fold constants and drop
                operands that never matter, which always shrinks the graph;
                "passthrough": relus that are always active become dot products of one
                term; "merge-if-smaller": dot products go into the dot products that
                read them, unless that takes more edges; "merge-all": they always do.

        Returns:
            A graph that agrees on the domain, to rounding. Nodes and outputs keep their
            keys; of equal nodes the first stays.

        Raises:
            ValueError: for an unknown policy or a graph of another level than "dot".
        """
        return _simplify.simplify(self, stable)

    def flags(self, x: ArrayLike | Any = None) -> list[Flag]:
        """What is constant, ignored, dead, double or linear.

        Args:
            x: inputs of shape `(batch, *shape)`; adds what is merely observed on these.

        Returns:
            For every kind and key the strongest proof, in the order of the proofs.
        """
        return _flags.flags(self, x)

    def diff(self, other: "Graph") -> Diff:
        """How another graph of the same level differs from this one.

        Raises:
            ValueError: for a graph of another level.
        """
        return _diff.diff(self, other)

    def to_json(self) -> str:
        """The whole graph as text; `flowgraph.from_json` reads it."""
        return json.to_json(self)

    def to_dot(self) -> str:
        """A graph description for Graphviz."""
        return dot.to_dot(self)

    def to_pydot(self) -> Any:
        """A `pydot.Dot`."""
        return dot.to_pydot(self)

    def to_svg(self, x: ArrayLike | None = None) -> str:
        """A drawing, with the values for one input if one is given."""
        return svg.to_svg(self, x)

    def to_graphml(self) -> str:
        """GraphML, for Gephi, yEd or networkx."""
        return graphml.to_graphml(self)

    def to_networkx(self) -> Any:
        """A `networkx.MultiDiGraph`; networkx must be installed."""
        return graphml.to_networkx(self)

    def to_python(self) -> str:
        """Python source of the same function, with the standard library alone."""
        return source.to_python(self)

    def to_c(self) -> str:
        """C99 source of the same function."""
        return source.to_c(self)

    def to_html(self, **options: Any) -> pages.Page:
        """The page that `save_html` writes, as text that a notebook shows.

        Args:
            options: those of `save_html`, such as `samples`, `labels` and `fn`.

        Raises:
            ValueError: as `save_html`.
        """
        return html.html(self, **options)

    def save_html(
        self,
        path: str | Path,
        *,
        samples: ArrayLike | None = None,
        labels: Sequence[int | str] | ArrayLike | None = None,
        fn: Callable | None = None,
        data: ArrayLike | None = None,
        exact: Bounds | None = None,
        other: "Graph | None" = None,
        title: str = "Flow graph",
        lead: str | None = None,
        footer: str | None = None,
        extra: PageExtra | None = None,
    ) -> None:
        """Write the graph as one interactive page that works offline.

        Args:
            path: file to write.
            samples: inputs to choose from, shape `(k, *shape)`.
            labels: their k true labels.
            fn: the function of one input that the graph was traced from; the page
                states the largest difference over `samples` and `data`.
            data: inputs to observe every node on, shape `(n, *shape)`.
            exact: what `bounds("exact")` returned.
            other: a second graph of the same inputs and outputs, shown beside this one.
            title: heading of the page.
            lead: a sentence under the title.
            footer: how the network was made, for instance.
            extra: a part of one's own.

        Raises:
            ValueError: if an argument does not fit the graph, or the graph is too
                large.
        """
        html.save_html(
            self,
            path,
            samples=samples,
            labels=labels,
            fn=fn,
            data=data,
            exact=exact,
            other=other,
            title=title,
            lead=lead,
            footer=footer,
            extra=extra,
        )


def function(nodes: Sequence[tuple], output: int) -> Graph:
    """An operation of one operand, as a graph for `Graph.functions`.

    Args:
        nodes: as of `_structure.arrays`; the first is the operand.
        output: the node of the result.
    """
    return Graph(
        **arrays(nodes),
        inputs=np.arange(1),
        outputs=np.array([output]),
        output_names=("y",),
        shape=(1,),
        input_names=("x",),
        low=np.full(1, -np.inf),
        high=np.full(1, np.inf),
    ).live()
