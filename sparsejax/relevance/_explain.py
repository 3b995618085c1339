"""Why did `fn(params, x)` give this value? Relevance of all that it is made of.

One walk back along the function's own steps, for any JAX function: no modules, no
hooks, nothing to rewrite. What the input cannot answer for, biases and other constants
do, and the whole is a sum that can be checked.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax import interpret, pages, trees
from sparsejax.relevance import _backward as backward
from sparsejax.relevance import _display
from sparsejax.relevance import _nodes as nodes
from sparsejax.relevance import _starts as starts
from sparsejax.relevance import _tape as tape
from sparsejax.relevance import _targets as targets
from sparsejax.relevance._rules import Rules, settle


class Relevance(NamedTuple):
    """What each part of a function has to do with its output.

    input + bias + constants + absorbed = output, where rules conserve.

    Attributes:
        output: what is explained: f(x); against a baseline f(x) - f(x0).
        input: relevance of the input, of its shape; of a tree the same tree, with zeros
            for what is no real number.
        multiplier: relevance / input (against a baseline: / (input - baseline)), where
            it is one; without a baseline the gradient.
        bias: relevance of every parameter that is added (itself, moved or scaled by
            constants), by its path and of its shape.
        constants: of numbers in the function, by the steps that brought them in.
        absorbed: what the epsilons of layers keep, by layers.
        nodes: relevance of every named activation.
        edges: through every weight of every layer, if asked for: of a dense layer
            `a_i w_ij Q_j`, whose rows sum to the layer's inputs' relevance; where a
            weight is used in many places, the sum.
    """

    output: Float[Array, ""]
    input: PyTree[Float[Array, "..."]]
    multiplier: PyTree[Float[Array, "..."]]
    bias: dict[str, Float[Array, "..."]]
    constants: dict[str, Float[Array, ""]]
    absorbed: dict[str, Float[Array, ""]]
    nodes: dict[str, Float[Array, "..."]]
    edges: dict[str, Float[Array, "..."]]

    def __repr__(self) -> str:
        return _display.text(self)

    @pages.display
    def _repr_html_(self) -> str:
        return _display.html(self)

    def residual(self) -> Float[Array, "..."]:
        """input + bias + constants + absorbed - output: what the rules made or lost."""
        return self._total(lambda part: part) - self.output

    def magnitude(self) -> Float[Array, "..."]:
        """Sum of the absolute values of all of these: the scale of the residual."""
        return self._total(jnp.abs) + jnp.abs(self.output)

    def _total(self, of: Callable) -> Any:
        parts = jax.tree.leaves((self.input, self.bias, self.constants, self.absorbed))
        batch = self.output.ndim  # axes of a vmap

        def total(part):
            return jnp.sum(of(part), range(batch, part.ndim))

        return sum(total(part).astype(self.output.dtype) for part in parts)


def explain(
    fn: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: PyTree,
    *,
    target: Any = None,
    at: str | None = None,
    baseline: Any = None,
    rules: Rules | None = None,
    edges: bool = False,
) -> Relevance:
    """Relevance of the input, the biases and all else for one output, one example.

    A function of arrays like any other: `jit`, `vmap` and `grad` it. Use `vmap` over
    examples, so that every one has biases of its own.

    Args:
        fn: any JAX function `fn(params, x)`, in evaluation mode.
        params: its parameters.
        x: one example: an array of real numbers, or a tree of arrays, some of which
            are of real numbers; the others (tokens, choices, keys) are constants.
        target: what to explain: an index of a vector of outputs; an array of the
            output's shape to weigh it by; a function of the output to a number; None
            for an output that is one number.
        at: a named activation to explain in place of the input, of which x may then be
            any: what is looked up for tokens. `input`, `multiplier` and a baseline are
            of its shape; relevance of tokens is `input.sum(-1)`.
        baseline: what to compare with. None: nothing, multipliers are the gradient
            (of what is inside functions that have derivative rules of their own).
            "zero": zero everywhere, the ones that biases multiply included: layer-wise
            relevance propagation. An array of x's shape, or a tree like x: that
            (DeepLIFT's rescale rule); biases are the same in both and get nothing.
        rules: see `Rules`; by default exact for the baseline.
        edges: whether to find relevance through every weight too.

    Raises:
        ValueError: for a primitive without a rule, loops and branches among them; an
            output without a choice, a target, a baseline or a name of a layer that
            does not fit; and, outside `jit`, for results that are not finite. (Inside,
            these show in the results and in `residual()`.)

    Example:
        >>> fn = lambda params, x: jax.nn.relu(x @ params["kernel"] + params["bias"])
        >>> params = {"kernel": jnp.array([[2.0], [1.0]]), "bias": jnp.array([0.5])}
        >>> r = explain(fn, params, jnp.array([1.0, -2.0]), target=0, baseline="zero")
        >>> r.output.item(), r.input.tolist(), r.bias["bias"].tolist()
        (0.5, [2.0, -2.0], [0.5])

        Of tokens, what is looked up for them is explained:

        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def model(table, tokens):
        ...     return checkpoint_name(table[tokens], "rows").sum()
        >>> table, tokens = jnp.array([[1.0, 2.0], [5.0, 0.0]]), jnp.array([1, 0, 1])
        >>> r = explain(model, table, tokens, at="rows", baseline="zero")
        >>> r.input.sum(-1).tolist()
        [5.0, 3.0, 5.0]

    Reference: Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier
    Decisions by Layer-Wise Relevance Propagation", 2015; Shrikumar et al., "Learning
    Important Features Through Propagating Activation Differences", 2017 (arXiv
    1704.02685).
    """
    rules = rules or Rules()
    fn, x = starts.begin(fn, params, x, at, starts.examples)
    baselines = _baselines(x, baseline)
    mode, asked = settle(rules, baseline), targets.asked(target)

    def explanation(params, x, baselines):
        program = interpret.trace(targets.chosen(fn, target), params, x)
        leaves = {k: v for k, v in trees.by_path(params).items() if hasattr(v, "dtype")}
        gradient = baseline is None
        steps = tape.record(program, [*leaves], baselines, rules.primitives, gradient)
        out = targets.only(steps.outputs)
        seed = targets.seed(nodes.value(out), asked)
        ledger = backward.propagate(steps, [seed], rules, mode, edges)
        return _results(steps, ledger, _explained(out, seed, mode.compared), x)

    result = interpret.whole(explanation, params, x, baselines)
    targets.check_finite({"x": x, **result._asdict()})
    return result


def derivative(step, inputs: list, outputs: list, q: list) -> list:
    """A rule for `Rules.primitives`: JAX's own derivative of the primitive.

    Example:
        >>> fn = lambda w, x: w * jax.lax.cumprod(x)[-1]
        >>> rules = Rules(primitives={"cumprod": derivative})
        >>> r = explain(fn, 1.0, jnp.array([2.0, 3.0]), rules=rules)
        >>> r.multiplier.tolist()
        [3.0, 2.0]
    """
    del outputs
    real = [jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in inputs]

    def run(*arrays):
        given = iter(arrays)
        return step.run(*[next(given) if r else x for r, x in zip(real, inputs)])

    _, back = jax.vjp(run, *[x for r, x in zip(real, inputs, strict=True) if r])
    found = iter(back(q))
    return [next(found) if r else None for r in real]


def _baselines(x, baseline) -> list | None:
    """The baseline's arrays, for each of the example's."""
    if baseline is None or (isinstance(baseline, str) and baseline == "zero"):
        return None
    if isinstance(baseline, str):
        raise ValueError(
            f'baseline is {baseline!r}; it can be None, "zero" or an array'
        )
    return targets.baselines(x, baseline)


def _explained(out, seed, compared: bool) -> Float[Array, ""]:
    """The chosen number, or how far it is from the baseline's."""
    if not compared:
        return jnp.sum(seed * nodes.value(out))
    # what both have, such as a bias that is NaN, is not in the difference
    both = seed * (nodes.value(out) + nodes.baseline(out))
    change = jnp.sum(seed * nodes.change(out))
    return jnp.where(jnp.isfinite(both).all(), change, jnp.nan)


def _results(
    steps: nodes.Tape, ledger: backward.Ledger, explained, x: PyTree
) -> Relevance:
    dtype = explained.dtype

    def number(parts):
        return {k: jnp.asarray(v, dtype) for k, v in parts.items()}

    leaves, structure = jax.tree.flatten(x)
    pairs = list(zip(leaves, steps.inputs, strict=True))

    def nothing(leaf):
        return jnp.zeros(jnp.shape(leaf), dtype)

    def whole(of):
        return jax.tree.unflatten(
            structure, [nothing(x) if node is None else of(node) for x, node in pairs]
        )

    return Relevance(
        explained,
        whole(lambda node: backward.relevance(ledger, node)),
        whole(lambda x: ledger.multipliers.get(x, jnp.zeros_like(x.value))),
        {
            node.path: backward.relevance(ledger, node)
            for node in steps.params
            if node in ledger.multipliers or node in ledger.direct
        },
        number(ledger.constants),
        number(ledger.absorbed),
        {name: backward.relevance(ledger, node) for name, node in steps.names.items()},
        ledger.edges,
    )
