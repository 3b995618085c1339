"""A network without its idle units, really smaller: channels, units, heads.

A unit can go where it is zero or where nothing reads it. What goes with it is followed
through the program: the kernels that make and read it, its bias and batch norm, the
units that it is added to or put together with, its places in a flattened image, its
group of a convolution. Structure alone decides: a unit that merely happens to be zero
on the data is not touched.

Reference: Fang et al., "DepGraph: Towards Any Structural Pruning", 2023, for layers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Bool, PyTree

from sparsejax import checks, interpret, lift, trees
from sparsejax import masks as masks_
from sparsejax.masks import Masks
from sparsejax.prune._compact import _equality as equality
from sparsejax.prune._compact import _plans as plans
from sparsejax.prune._compact._coupling import Coupling
from sparsejax.prune._compact._report import Report, report
from sparsejax.prune._compact._slices import Solution
from sparsejax.prune._compact._smaller import Smaller, arrays_of, shapes_of
from sparsejax.prune._nodes import remove_nodes


class Idle(NamedTuple):
    """Units of one named activation that do nothing.

    Attributes:
        constant: whether nothing that varies with the inputs reaches each unit.
        unread: whether each varies, but nothing that it computes reaches a result; not
            known of units tied one to one to an input, whose size stays, and so False.
    """

    constant: Bool[np.ndarray, " units"]
    unread: Bool[np.ndarray, " units"]


class Compact(NamedTuple):
    """A smaller network.

    Attributes:
        fn: `fn(params, *args)`, the function on the smaller parameters.
        params: parameters of the structure that was given, with smaller leaves.
        report: what went, what stayed and why; print it.
    """

    fn: Callable
    params: PyTree
    report: Report


def compact(
    fn: Callable, params: PyTree, masks: Masks | Any, *args: Any, **kwargs: Any
) -> Compact:
    """The same function with smaller arrays, without the units that do nothing.

    Units are positions on any axis of any parameter. Those that are constant but not
    zero go too where biases can take them over (`remove_nodes`).

    Args:
        fn: any JAX function `fn(params, *args, **kwargs)`.
        params: its parameters.
        masks: masks of weights and of named activations (for units, or whatever axes
            they have), or None: then zeros among the parameters decide.
        *args: inputs; the results are compared on them.
        **kwargs: more inputs.

    Returns:
        `Compact(fn, params, report)`. The new `fn` runs the program of the old one,
        with the shapes that follow, for inputs of these shapes or any others for which
        `fn` takes the same steps (other batches); compile it with `jit`. Functions
        that take their shapes from their parameters run on the smaller ones
        themselves, and `report.own` says whether that is so. Masks of units that had
        to stay are part of the new `fn`.

    Raises:
        ValueError: inside `jit`, for masks that do not fit, and if results differ.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> def fn(params, x):
        ...     h = checkpoint_name(jax.nn.relu(x @ params["a"]), "hidden")
        ...     return h @ params["b"]
        >>> params = {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 1))}
        >>> x = jnp.ones((1, 2))
        >>> masks = masks_.ones(fn, params, x)
        >>> masks.nodes["hidden"] = jnp.array([1.0, 0.0, 1.0])
        >>> small = compact(fn, params, masks, x)
        >>> small.params["a"].shape, small.params["b"].shape
        ((2, 2), (2, 1))
        >>> small.fn(small.params, x).item(), fn(small.params, x).item()
        (4.0, 4.0)
    """
    params, nodes = _masked(params, masks)
    before = params
    network = _network(fn, params, nodes, args, kwargs)
    coupling, axes, solution = network.solved(params)
    notes = []
    if constant := _constants(coupling, solution):
        params, notes = network.folded(params, constant)
        coupling, axes, solution = network.solved(params)
    kept = [plans.kept_axes(value.ids, solution) for value in axes]
    small = _cut(params, kept)
    steps = plans.plans(coupling.records, solution)
    run = Smaller(network.fn, steps, network.nodes, params, kept)
    own = equality.problem(fn, small, args, kwargs)
    calls = [(network.masked, before), (run, small), (fn, small)][: 2 if own else 3]
    expected, *others = equality.results(calls, args, kwargs)
    equality.compare(expected, others[0])
    own = own or equality.difference(expected, others[1])
    said = report(coupling, solution, params, axes, network.nodes, (own, notes))
    return Compact(run, small, said)


def idle(
    fn: Callable, params: PyTree, masks: Masks | Any, *args: Any, **kwargs: Any
) -> dict[str, Idle]:
    """Constant units and unread ones of every named activation.

    Args:
        fn: any JAX function `fn(params, *args, **kwargs)`.
        params: its parameters.
        masks: masks of weights and named activations, or None.
        *args: inputs; only shapes and dtypes matter.
        **kwargs: more inputs.

    Returns:
        For each named activation, `{"hidden_0": Idle(constant, unread), ...}`, over its
        last axis.

    Raises:
        ValueError: inside `jit`, and for masks that do not fit.

    Example:
        >>> from jax.ad_checkpoint import checkpoint_name
        >>> fn = lambda p, x: checkpoint_name(x @ p["a"], "h") @ p["b"]
        >>> a, b = jnp.array([[1.0, 0.0, 1.0]]), jnp.array([[1.0], [1.0], [0.0]])
        >>> units = idle(fn, {"a": a, "b": b}, None, jnp.ones(1))["h"]
        >>> units.constant.tolist(), units.unread.tolist()
        ([False, True, False], [False, False, True])
    """
    params, nodes = _masked(params, masks)
    coupling, _, solution = _network(fn, params, nodes, args, kwargs).solved(params)
    units = {}
    for name, value in coupling.named.items():
        if value.ids:
            constant = _unvarying(value)
            units[name] = Idle(constant, ~constant & ~solution(value.ids[-1]))
    return units


def _masked(params, masks) -> tuple[PyTree, dict[str, np.ndarray]]:
    """Parameters times their masks, and the masks of activations."""
    checks.arrays(params)
    if masks is not None:
        masks_.check_kind(masks)
        params = masks_.apply(params, masks.weights)
    traced = {
        name: leaf
        for tree in (params, masks)
        for name, leaf in trees.by_path(tree).items()
        if isinstance(leaf, Tracer)
    }
    if traced:
        raise ValueError(
            f"compact and idle need values, but jit or vmap traces "
            f"{trees.listed(traced)}: shapes depend on them. Call them outside, with "
            "one network at a time"
        )
    nodes = {} if masks is None else masks.nodes
    return params, {name: np.asarray(mask) for name, mask in nodes.items()}


class _Network(NamedTuple):
    """A function with masks of its activations, and the inputs that it is given."""

    fn: Callable
    nodes: dict[str, np.ndarray]
    args: tuple
    kwargs: dict[str, Any]

    def masked(self, params, *args, **kwargs):
        """The results with the masks."""
        edits = {name: _scaled(mask) for name, mask in self.nodes.items()}
        fn = lift.edit(self.fn, edits) if edits else self.fn
        return fn(params, *args, **kwargs)

    def solved(self, params) -> tuple[Coupling, list, Solution]:
        """The program followed, the axes of the parameters, and what stays."""
        program = interpret.trace(self.fn, shapes_of(params), *self.args, **self.kwargs)
        leaves = arrays_of(params)
        inputs = [*leaves, *program.inputs[len(leaves) :]]
        if self.nodes:
            sites = interpret.sites(program)
            lift.check_names(sites, self.nodes, changed=True)
        coupling = Coupling(self.nodes)
        axes = coupling.run(program._replace(inputs=inputs), len(leaves))
        return coupling, axes, coupling.slices.solve()

    def folded(self, params, constant: dict[str, np.ndarray]) -> tuple[PyTree, list]:
        """Parameters whose biases have taken constant units over, where they can."""

        def fn(params, args):
            return self.masked(params, *args, **self.kwargs)

        notes = []
        keep = {name: 1.0 - units for name, units in constant.items()}
        for nodes in (keep, *({name: mask} for name, mask in keep.items())):
            try:
                params = remove_nodes(fn, params, nodes, self.args)
            except ValueError as error:
                if len(nodes) == 1:
                    (name,) = nodes
                    notes.append(f"constant units of {name!r} stay: {error}")
            else:
                if nodes is keep:
                    return params, []
        return params, notes


def _network(fn, params, nodes: dict[str, np.ndarray], args, kwargs) -> _Network:
    """A function and its masks, of which those inside loops become steps of it."""
    if not nodes:
        return _Network(fn, nodes, args, kwargs)
    program = interpret.trace(fn, shapes_of(params), *args, **kwargs)
    sites = lift.check_names(interpret.sites(program), nodes, changed=True)
    looped = {site.name: site for site in sites if site.loops}
    for name, site in looped.items():
        masks_.check_fits(site, nodes[name], f"masks.nodes[{name!r}]")
    rest = {name: mask for name, mask in nodes.items() if name not in looped}
    inside = {name: jnp.asarray(nodes[name]) for name in looped}
    if inside:
        fn = _with_masks_in_loops(fn, inside)
    return _Network(fn, rest, args, kwargs)


def _with_masks_in_loops(fn, inside: dict[str, Any]) -> Callable:
    """A function that multiplies activations inside loops by their masks."""

    def visit(name, h, mask):
        return masks_.scale(h, mask.astype(h.dtype)), None

    def run(params, *args, **kwargs):
        program = interpret.trace(fn, params, *args, **kwargs)
        return interpret.evaluate(program, inside, visit)[0]

    return run


def _scaled(mask: np.ndarray) -> Callable:
    return lambda h: masks_.scale(h, jnp.asarray(mask).astype(h.dtype))


def _unvarying(value) -> np.ndarray:
    """The units of the last axis that are constant."""
    varies = value.known.varies
    varies = varies.any(axis=tuple(range(varies.ndim - 1)))
    return ~np.broadcast_to(varies, (len(value.ids[-1]),))


def _constants(coupling: Coupling, solution: Solution) -> dict[str, np.ndarray]:
    """The units of named activations that are constant, not zero, and read."""
    units = {}
    for name, value in coupling.named.items():
        if value.ids:
            nonzero = value.known.nonzero
            nonzero = nonzero.any(axis=tuple(range(nonzero.ndim - 1)))
            units[name] = _unvarying(value) & nonzero & solution(value.ids[-1])
    return {name: constant for name, constant in units.items() if constant.any()}


def _cut(params, kept: Sequence) -> PyTree:
    """Smaller leaves in the tree of the parameters."""
    axes, leaves = iter(kept), []
    for leaf in jax.tree.leaves(params):
        own = next(axes) if hasattr(leaf, "shape") else ()
        some = any(stays is not None for stays in own)
        leaves.append(plans.take(leaf, own) if some else leaf)
    return jax.tree.unflatten(jax.tree.structure(params), leaves)
