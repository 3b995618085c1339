"""From any JAX function of one input to a graph of scalars.

The function's jaxpr is run on arrays of affine forms (`_forms`) by one rule a primitive
(`_rules`). Weights are whatever the function closes over: zeros among them are gone,
constants are folded, equal nodes are one node, and what no output needs is dropped.
Numbers are real ones: rounding to 16 bits and overflow are not modelled, integers but
for counts of truths are refused. Nothing about the domain is used (`_simplify` does).

Not for large dense networks: a graph holds every remaining weight as often as it is
used. A limit says so early.

Reference: Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?", 2020.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import ArrayLike

from sparsejax import checks, interpret
from sparsejax.flowgraph import _forms
from sparsejax.flowgraph._graph import Graph
from sparsejax.flowgraph._rules import RULES, Rule
from sparsejax.flowgraph._structure import TooLarge, arrays
from sparsejax.flowgraph._tracer import Tracer

# Calls by these names become one node each where all that is inside works element by
# element on one array: the activations of `jax.nn` as people know them.
BOXES = frozenset(
    "relu6 elu selu celu leaky_relu softplus silu swish hard_tanh hard_sigmoid "
    "hard_silu hard_swish log_sigmoid soft_sign squareplus mish sparse_plus "
    "sparse_sigmoid".split()
)


def trace(
    fn: Callable,
    x: ArrayLike | jax.ShapeDtypeStruct | Any,
    *,
    domain: tuple[ArrayLike, ArrayLike] = (0.0, 1.0),
    names: str | Iterable | None = None,
    output_names: str | Iterable | None = None,
    image: int | Iterable | None = None,
    boxes: str | Iterable = BOXES,
    rules: Mapping[str, Rule] | None = None,
    max_nodes: int = 200_000,
) -> Graph:
    """The graph of a function of one array.

    Args:
        fn: `fn(x) -> array`; parameters and masks are closed over. Batch axes of one
            are fine; for a batched model pass `lambda x: model(x[None])[0]`.
        x: an example of the input, or its shape and dtype; its values do not matter.
        domain: lowest and highest value of every input, numbers or arrays of x's shape.
        names: names of the inputs: a pattern with {i} (flat position) or {r}, {c}, {ch}
            (row, column, channel of the image), or a list. By default `x[3,4]`.
        output_names: one or several; by default `output_0`, `output_1`, ...
        image: (height, width) or (height, width, channels) if the input is a picture,
            whatever its shape.
        boxes: calls that become one node where they work element by element, by name.
        rules: rules for more primitives, or instead of those in `flowgraph.RULES`.
        max_nodes: the limit, dead nodes included; edges are limited to ten times that.

    Returns:
        The graph, at level "dot".

    Raises:
        ValueError: for a function that is not of this form, an unknown primitive, a
            weight that is not finite, a graph that is too large; with the place.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[2.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
        >>> trace(lambda x: jax.nn.relu(x @ kernel), jnp.zeros(3))
        Graph(6 vertices, 4 edges, 2 of 3 inputs, 2 outputs, level='dot')
    """
    return whole(
        fn, x, domain=domain, names=names, output_names=output_names, image=image,
        boxes=boxes, rules=rules, max_nodes=max_nodes,
    ).live()  # fmt: skip


def whole(
    fn: Callable,
    x: ArrayLike | jax.ShapeDtypeStruct | Any,
    *,
    domain: tuple[ArrayLike, ArrayLike] = (0.0, 1.0),
    names: str | Iterable | None = None,
    output_names: str | Iterable | None = None,
    image: int | Iterable | None = None,
    boxes: str | Iterable = BOXES,
    rules: Mapping[str, Rule] | None = None,
    max_nodes: int = 200_000,
    strict: bool = False,
) -> Graph:
    """The graph with what no output needs, too; arguments as of `trace`.

    Args:
        strict: whether to refuse floats below 32 bits: their rounding is not modelled.
    """
    shape, size = _input(x)
    low, high = _domain(domain, shape)
    picture = _picture(image, size)
    labels = _names(names, shape, picture)
    program = _program(fn, x)
    tracer = Tracer(
        frozenset(checks.several(boxes)),
        {**RULES, **(rules or {})},
        max_nodes,
        strict=strict,
    )
    if size > max_nodes:
        raise TooLarge(
            f"the input has {size:,} elements, max_nodes is {max_nodes:,}; raise it"
        )
    for i, label in enumerate(labels):
        tracer.nodes.input(i, label)
    start = _forms.place(np.arange(size), np.zeros(size), shape, max_nodes)
    (out,) = interpret.walk(program, [start], tracer.rule)
    out = tracer.forms(out)
    outputs = tracer.outputs(out)
    if output_names is None:
        output_names = _default_names(out.shape)
    found = [str(name) for name in checks.several(output_names)]
    if len(found) != len(outputs):
        raise ValueError(
            f"{len(found)} output_names for {len(outputs)} outputs of fn, whose shape "
            f"is {out.shape}"
        )
    for what, given in (("output_names", found), ("names", labels)):
        twice = [name for name, count in Counter(given).items() if count > 1]
        if twice:
            raise ValueError(f"{what} has {twice[0]!r} more than once")
    return Graph(
        **arrays(tracer.finished()),
        inputs=np.arange(size),
        outputs=outputs,
        output_names=tuple(found),
        shape=shape,
        input_names=labels,
        low=low,
        high=high,
        image=picture,
        functions=tracer.functions,
    )


def _input(x) -> tuple[tuple[int, ...], int]:
    x = _array(x)
    if not all(isinstance(n, int) for n in x.shape):
        raise ValueError(f"the input's shape must be numbers, got {x.shape}")
    if not jax.numpy.issubdtype(x.dtype, jax.numpy.floating):
        raise ValueError(
            f"the input has dtype {x.dtype}; a flow graph is of real numbers: pass a "
            f"float array, and {checks.from_lookup('')}"
        )
    size = math.prod(x.shape)
    if not size:
        raise ValueError(f"the input is empty, of shape {tuple(x.shape)}")
    return tuple(x.shape), size


def _array(x) -> Any:
    """An array, or its shape and dtype."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return x
    checks.array(x, before="")
    return x if hasattr(x, "dtype") else np.asarray(x)


def _domain(domain, shape) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(domain, tuple | list) or len(domain) != 2:
        raise ValueError(
            f"domain is (lowest, highest), two numbers or arrays, got {domain!r}"
        )
    try:
        low, high = (
            np.broadcast_to(np.asarray(d, np.float64), shape).reshape(-1).copy()
            for d in domain
        )
    except ValueError:
        raise ValueError(
            f"domain has shapes {[np.shape(d) for d in domain]}, expected numbers or "
            f"arrays of the input's shape {shape}"
        ) from None
    bad = np.flatnonzero(~(low <= high))
    if len(bad):
        i = int(bad[0])
        raise ValueError(f"domain of input {i} is empty: [{low[i]}, {high[i]}]")
    return low, high


def _picture(image, size: int) -> tuple[int, ...] | None:
    if image is None:
        return None
    picture = checks.several(image)
    whole = all(isinstance(n, int | np.integer) for n in picture)
    if not whole or len(picture) not in (2, 3) or math.prod(picture) != size:
        raise ValueError(
            f"image {picture} is not (height, width) or (height, width, channels) of "
            f"the input's {size} elements"
        )
    return tuple(map(int, picture))


def _names(names, shape, image) -> tuple[str, ...]:
    size = math.prod(shape)
    if names is None:
        index = image or shape
        return tuple(f"x{_forms.unit(index, i)}" for i in range(size))
    if not isinstance(names, str):
        found = tuple(map(str, checks.several(names)))
        if len(found) != size:
            raise ValueError(f"{len(found)} names for {size} inputs")
        return found
    places = (*(image or shape), 1, 1)[:3] if image or len(shape) > 1 else (size, 1, 1)
    rows = (np.unravel_index(i, places) for i in range(size))
    try:
        return tuple(
            names.format(i=i, r=r, c=c, ch=ch) for i, (r, c, ch) in enumerate(rows)
        )
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            f"names {names!r} is a pattern that may hold {{i}}, {{r}}, {{c}}, {{ch}}"
        ) from None


def _default_names(shape) -> list[str]:
    parts = (_forms.unit(shape, i) for i in range(math.prod(shape)))
    return [f"output{part.replace('[', '_').replace(',', '_')}"[:-1] if part
            else "output" for part in parts]  # fmt: skip


def _program(fn, x) -> Any:
    x = _array(x)
    try:
        program = interpret.trace(fn, jax.ShapeDtypeStruct(x.shape, x.dtype))
    except (TypeError, AttributeError, LookupError) as error:
        line = checks.first_line(error)
        raise ValueError(
            f"fn cannot be traced: {line} It takes and returns one array, and its "
            "shapes and branches do not depend on the input's values"
        ) from error
    count = program.out_tree.num_leaves
    if count != 1:
        out = jax.tree.unflatten(program.out_tree, range(count))
        raise ValueError(
            f"fn returns {count} arrays, a flow graph is of one; choose one, as in "
            f"{checks.one_output(out, '')}"
        )
    return program
