"""Lottery rounds of agents: remove, rewind, train again, undo what fails.

Each agent has a criterion of its own: the mean return of its episodes. Where it falls
below the target, fewer weights are tried, down to one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Int, PyTree

from sparsejax.experiments.cartpole.agents import (
    Agents,
    Steps,
    as_mask,
    count,
    flat,
    live,
    pick,
    rank,
    unflat,
)


class Lottery(NamedTuple):
    """The state of a lottery between rounds; all arrays have an axis over agents.

    Attributes:
        agents: the last good ones.
        amount: weights that the next round removes.
        skip: weights of smallest magnitude that it leaves alone.
        over: whether an agent has ended.
    """

    agents: Agents
    amount: Int[np.ndarray, " agents"]
    skip: Int[np.ndarray, " agents"]
    over: Bool[np.ndarray, " agents"]


def start(agents: Agents, fraction: float) -> Lottery:
    """A lottery before its first round."""
    number = len(count(agents.kept))
    zero = np.zeros(number, int)
    return Lottery(agents, _part(agents, fraction), zero, zero > 0)


def one_round(
    state: Lottery,
    train: Callable[[PyTree], PyTree],
    score: Callable[[PyTree], np.ndarray],
    target: float,
    fraction: float,
    patience: int,
) -> tuple[Lottery, Steps]:
    """Remove, rewind, train again; undo where the return does not stay.

    Args:
        state: so far.
        train: `train(mask) -> params` from the start, of all agents together.
        score: `score(params) -> (agents,)` mean returns.
        target: mean return to keep.
        fraction: removed by the next round where this one succeeds.
        patience: failures with single weights that end an agent's lottery.

    Returns:
        The next state, and the one step that was tried.
    """
    agents = state.agents
    size = {name: np.abs(agents.params[name]["kernel"]) for name in agents.kept}
    place = rank(np.where(flat(agents.kept), flat(size), np.inf))
    first, last = state.skip[:, None], (state.skip + state.amount)[:, None]
    removed = (place >= first) & (place < last) & ~state.over[:, None]
    tried = live(unflat(flat(agents.kept) & ~removed, agents.kept))
    params = jax.tree.map(np.asarray, train(as_mask(agents.params, tried)))
    returns = score(params)
    good = (returns >= target) & ~state.over & (count(tried) > 0)
    agents = pick(good, Agents(params, tried), agents)
    one = ~good & (state.amount == 1)
    skip = np.where(good, 0, state.skip + one)
    amount = np.where(good, _part(agents, fraction), np.maximum(state.amount // 2, 1))
    over = state.over | (skip >= patience) | (skip + 1 >= count(agents.kept))
    steps = Steps(count(tried)[None], returns[None], good[None])
    return Lottery(agents, amount, skip, over), steps


def _part(agents: Agents, fraction: float) -> np.ndarray:
    return np.maximum((fraction * count(agents.kept)).astype(int), 1)
