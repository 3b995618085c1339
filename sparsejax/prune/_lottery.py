"""Lottery tickets: train, prune, rewind, again.

`lottery` knows nothing of models, data or optimizers: it is given
`train(state, mask, stop) -> state`. What a round restarts from is two independent
choices, which make the four retraining modes of the literature:

    weights_from  schedule_from
    "rewind"      "rewind"   lottery tickets (rewind_to=0), weight rewinding (k > 0)
    "trained"     "rewind"   learning-rate rewinding
    "trained"     "final"    fine-tuning at the last learning rate
    "rewind"      "final"    rewound weights, last learning rate (a control; it fails)

References:
    Frankle, Carbin, "The Lottery Ticket Hypothesis", 2018, arXiv:1803.03635.
    Frankle, Dziugaite, Roy, Carbin, "Stabilizing the Lottery Ticket Hypothesis", 2019,
    arXiv:1903.01611.
    Renda, Frankle, Carbin, "Comparing Rewinding and Fine-tuning in Neural Network
    Pruning", 2020, arXiv:2003.02389.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key, PyTree

from sparsejax import checks, interpret, masks, meshes
from sparsejax.prune import _scores as scores
from sparsejax.prune._remove import Amount, Scope, check_not_emptied, remove
from sparsejax.train import State


class Ticket(NamedTuple):
    """One level of a lottery run.

    Attributes:
        level: number of prunings so far, 0 for the dense network.
        mask: what is kept, a tree like `Masks.weights`.
        start: the state that training began from; removed weights are zero.
        trained: the state at the end of training.
    """

    level: int
    mask: PyTree
    start: State
    trained: State


def lottery(
    train: Callable[[State, PyTree, int | None], State],
    state: State | Any,
    mask: PyTree,
    *,
    rounds: int | Any,
    fraction: Amount | Iterable[Amount],
    scope: Scope | Iterable[Scope] = "layer",
    rewind_to: int | Any = 0,
    weights_from: str = "rewind",
    schedule_from: str = "rewind",
    score: Callable[[State], PyTree] = lambda state: scores.magnitude(state.params),
    allow_empty: bool = False,
    tickets: Iterable[Ticket] = (),
    on_round: Callable[[Ticket], Any] | None = None,
    mesh: Mesh | Any = None,
) -> list[Ticket]:
    """Train, then prune and retrain `rounds` times.

    Args:
        train: `train(state, mask, stop)` trains to step `stop`, or to the end of
            training if that is None. Deterministic, if rewinding is to repeat.
        state: before training; with a leading axis everywhere, several networks that
            are pruned each by itself.
        mask: what may be pruned, usually `masks.ones(...).weights`.
        rounds: number of prunings (1: one-shot).
        fraction: of the weights still kept, removed in every round, or one number for
            each round.
        scope: as in `remove`, or one for each round.
        rewind_to: training step of the dense network that rounds rewind to.
        weights_from: "rewind" or "trained": parameters that a round restarts with,
            statistics of normalisation included.
        schedule_from: "rewind" or "final": where optimizer state, schedule, step and
            with it the order of the data restart.
        score: `score(state) -> tree` of one trained network, higher = keep.
        allow_empty: let layers lose their last weight.
        tickets: the first tickets of a run that was interrupted; it goes on after them.
        on_round: called with every new ticket.
        mesh: devices, by default those of `jax.set_mesh`. Several networks are split
            over them where they are pruned, and, as the mesh is what `jax.set_mesh`
            says meanwhile, by `train.fit` within `train`.

    Returns:
        `rounds + 1` tickets, the dense network first.

    Raises:
        ValueError: for choices that do not exist, and as `remove` does.

    Example:
        >>> params, mask = {"w": jnp.array([3.0, -1.0, 2.0, 5.0])}, {"w": jnp.ones(4)}
        >>> def train(state, mask, stop):  # weights double, and removed ones stay zero
        ...     new = masks.apply({"w": 2 * state.params["w"]}, mask)
        ...     return state._replace(step=jnp.asarray(stop or 10), params=new)
        >>> state = State(jnp.asarray(0), params, (), jax.random.key(0))
        >>> for ticket in lottery(train, state, mask, rounds=2, fraction=0.5):
        ...     ticket.start.params["w"].tolist()
        [3.0, -1.0, 2.0, 5.0]
        [3.0, 0.0, 0.0, 5.0]
        [0.0, 0.0, 0.0, 5.0]
    """
    restart = _restart(weights_from, schedule_from)
    if not isinstance(state, State):
        raise ValueError(f"state must be a State, got {checks.described(state)}")
    checks.key(state.key, "state.key")
    rounds = checks.integer(rounds, "rounds", 0)
    fractions, scopes = (_per_round(value, rounds) for value in (fraction, scope))
    rewind_to = checks.integer(rewind_to, "rewind_to", 0)
    if len(fractions) != rounds or len(scopes) != rounds:
        raise ValueError(
            f"{rounds} rounds need as many fractions and scopes, got {len(fractions)} "
            f"and {len(scopes)}"
        )
    prune = _pruner(score, bool(state.key.ndim), allow_empty)
    cuts = [*zip(fractions, scopes, strict=True)]
    with meshes.over(mesh):
        state, mask, done = meshes.put((state, mask, [*tickets]))
        return _run(train, state, mask, cuts, rewind_to, restart, prune, done, on_round)


def _run(train, state, mask, cuts, rewind_to, restart, prune, done, on_round):
    """The tickets after those that are done, and these."""
    if not done:
        rewind = train(state, mask, rewind_to) if rewind_to else state
        rewind = restart(rewind, rewind, mask)
        done = [Ticket(0, mask, rewind, train(rewind, mask, None))]
        _report(on_round, done[0])
    rewind, dense = done[0].start, done[0].trained
    length = _step(dense) - _step(rewind)
    if length <= 0:
        raise ValueError(
            f"nothing to train after rewind_to={rewind_to}: training ends at step "
            f"{_step(dense)}"
        )
    for level in range(len(done), len(cuts) + 1):
        last = done[-1]
        kept = prune(last.trained, last.mask, *cuts[level - 1])
        start = restart(rewind, last.trained, kept)
        trained = train(start, kept, _step(start) + length)
        done.append(Ticket(level, kept, start, trained))
        _report(on_round, done[-1])
    return done


def shuffle(key: Key[Array, ""] | Any, mask: PyTree) -> PyTree:
    """A mask with as many ones in every leaf, at random places.

    Example:
        >>> mask = {"w": jnp.array([1.0, 1.0, 1.0, 0.0])}
        >>> sorted(shuffle(jax.random.key(0), mask)["w"].tolist())
        [0.0, 1.0, 1.0, 1.0]
    """
    checks.one_key(key)
    leaves, structure = jax.tree.flatten(mask)
    keys = jax.random.split(key, len(leaves))

    def move(key, leaf):
        return (
            jax.random.permutation(key, leaf.reshape(-1)).reshape(leaf.shape)
            if leaf.ndim
            else leaf
        )

    return jax.tree.unflatten(structure, [*map(move, keys, leaves)])


class Barrier(NamedTuple):
    """Error between two networks.

    Attributes:
        height: largest excess of the error on the straight line between the two sets
            of parameters over the line between their errors; in the unit of `error`.
        curve: error at equally spaced points of the line, ends included.
    """

    height: Float[Array, ""]
    curve: Float[Array, " points"]


def barrier(
    error: Callable[[PyTree], Float[Array, ""]], a: PyTree, b: PyTree, points: int = 11
) -> Barrier:
    """Linear mode connectivity of two trained networks.

    Args:
        error: `error(params)`, test error or loss.
        a: parameters of one network.
        b: parameters of the other, trained from the same start on data in another
            order.
        points: number of points on the line.

    Example:
        >>> error = lambda w: 1.0 - w**2  # a hill between -1 and 1
        >>> hill = barrier(error, jnp.array(-1.0), jnp.array(1.0), points=3)
        >>> hill.height.item(), hill.curve.tolist()
        (1.0, [0.0, 1.0, 0.0])

    Reference:
        Frankle, Dziugaite, Roy, Carbin, "Linear Mode Connectivity and the Lottery
        Ticket Hypothesis", 2019, arXiv:1912.05671.
    """
    t = jnp.linspace(0.0, 1.0, checks.integer(points, "points", 2))

    def mix(t):
        return jax.tree.map(lambda p, q: p + t.astype(p.dtype) * (q - p), a, b)

    curve = jax.lax.map(lambda t: error(mix(t)), t)
    line = curve[0] + t.astype(curve.dtype) * (curve[-1] - curve[0])
    return Barrier(jnp.max(curve - line), curve)


def _per_round(value, rounds: int) -> list:
    """One value for each round, of one for all or of several (read once)."""
    one = isinstance(value, str | Mapping) or not np.iterable(value)
    return [value] * rounds if one else [*value]


def _restart(weights_from, schedule_from) -> Callable[[State, State, PyTree], State]:
    if weights_from not in ("rewind", "trained"):
        raise ValueError(
            f"weights_from must be 'rewind' or 'trained', got {weights_from!r}"
        )
    if schedule_from not in ("rewind", "final"):
        raise ValueError(
            f"schedule_from must be 'rewind' or 'final', got {schedule_from!r}"
        )

    def restart(rewind: State, trained: State, mask: PyTree) -> State:
        weights = rewind if weights_from == "rewind" else trained
        schedule = rewind if schedule_from == "rewind" else trained
        zero = jax.vmap(masks.zero) if schedule.key.ndim else masks.zero
        if schedule.key.ndim and meshes.parts() > 1:
            zero = interpret.Compiled(meshes.split(zero))
        return schedule._replace(params=zero(weights.params, mask))

    return restart


def _pruner(score, many, allow_empty) -> Callable[..., PyTree]:
    """`prune(state, mask, fraction, scope)`, of one network or of stacked ones."""
    if not many:
        keep = partial(remove, allow_empty=allow_empty)
        return lambda state, mask, fraction, scope: keep(
            score(state), mask, fraction, scope=scope
        )

    @partial(interpret.Compiled, static_argnums=(2, 3))
    def together(state, mask, fraction, scope):
        scope = scope if isinstance(scope, str) else dict(scope)

        def one(state, mask):
            return remove(score(state), mask, fraction, scope=scope)

        return meshes.split(jax.vmap(one))(state, mask)

    def prune(state, mask, fraction, scope):
        static = scope if isinstance(scope, str) else tuple(sorted(scope.items()))
        new = together(state, mask, fraction, static)
        if allow_empty:
            return new
        before, after = meshes.fetch((mask, new))
        for seed in range(len(state.key)):

            def of_seed(tree, seed=seed):
                return jax.tree.map(lambda a: a[seed], tree)

            try:
                check_not_emptied(of_seed(before), of_seed(after))
            except ValueError as error:
                raise ValueError(f"network {seed}: {error}") from None
        return new

    return prune


def _step(state: State) -> int:
    return int(jnp.max(state.step))


def _report(on_round, ticket):
    if on_round is not None:
        on_round(ticket)
