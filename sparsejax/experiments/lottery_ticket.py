"""Lottery tickets on images: train, prune, rewind and retrain, with controls.

Reproduces and extends Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?" (2020):
an MNIST network of 784-32-32-10 pruned to 2% of its weights. All seeds train together
in one compiled program. Every level is checkpointed; a run that was killed goes on with
the level it was at and ends with the same arrays, bit for bit.

    <folder>/level_03/checkpoint.npz   mask/..., params/..., opt_state/..., step, key,
                                       each with a leading axis over seeds
    <folder>/rewind.npz                the state that every round rewinds to
    <folder>/metrics.jsonl             a line for each level, variant and seed
    <folder>/fig_*.svg, index.html
    <folder>/flowgraph/                the last ticket of the first seed as a flow graph
"""

import dataclasses
import itertools as it
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import data, lift, masks, prune, runs, train, trees
from sparsejax.experiments import (
    checkpoints,
    flowgraph,
    lottery_config,
    lottery_report,
    networks,
)
from sparsejax.experiments.lottery_config import Config as Config
from sparsejax.experiments.lottery_config import plan as plan
from sparsejax.flowgraph import TooLarge
from sparsejax.masks import Masks
from sparsejax.prune import Ticket


def run(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Run, or go on with, an experiment.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and when a loss is not finite: the levels before are
            kept.
    """
    folder = Path(folder)
    rounds = plan(config)
    lab = _Lab(config, data.load(config.dataset, data_dir))
    complete = runs.start(folder, config, kind="lottery", about=_about(), force=force)
    records = _measured(folder, config, report)
    if complete and records and records[-1]["level"] == len(rounds.counts) - 1:
        report(f"{folder} is complete; --force runs it again")
        return records
    state, mask = lab.start()
    measured = {record["level"] for record in records}
    tickets = checkpoints.resume(folder, state, mask, measured, report)
    lab.rewind = tickets[0].start if tickets else None
    records = [r for r in records if r["level"] < len(tickets)]
    began, first = time.perf_counter(), len(tickets)
    levels = len(rounds.counts)

    def on_round(ticket: Ticket) -> None:
        level_records = lab.measure(ticket)
        records.extend(level_records)
        runs.write_metrics(folder, records)
        checkpoints.save(folder, ticket)  # last: a level without it is made again
        spent = time.perf_counter() - began
        left = spent / (ticket.level + 1 - first) * (levels - ticket.level - 1)
        report(f"{_line(level_records, levels)}  {spent:5.0f} s, {left:.0f} s left")

    prune.lottery(
        lab.train,
        state,
        mask,
        rounds=levels - 1,
        fraction=rounds.fractions,
        scope=rounds.scopes,
        rewind_to=config.rewind_to,
        weights_from=config.weights_from,
        schedule_from=config.schedule_from,
        score=lab.score,
        allow_empty=config.allow_empty,
        tickets=tickets,
        on_round=on_round,
    )
    weights = [checkpoints.read_level(folder, level) for level in range(levels)]
    shape = lab.images.shape[1:]
    link = "flowgraph/index.html" if _flow_graph(folder, data_dir, report) else None
    about = dataclasses.asdict(config)
    lottery_report.write(folder, about, records, weights, shape, flow_graph=link)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    found = lottery_report.finding(runs.read_metrics(folder))
    return (
        f"{found}\n"
        f"open {folder / 'index.html'}, and flowgraph/graph.html beside it\n"
        f"next: python launch/flowgraph.py --run={folder}, or --exclude=dense_0 here"
    )


def _flow_graph(folder, data_dir, report) -> bool:
    """The first seed's last ticket as a flow graph, unless it is too large."""
    network = networks.load(folder, data_dir=data_dir)
    try:
        flowgraph.run(
            flowgraph.Config(exact=False),
            folder / "flowgraph",
            network,
            report=lambda line: None,
        )
    except TooLarge as error:
        report(f"no flow graph of the last ticket: {error}")
        return False
    return True


class _Lab:
    """The functions of one experiment, bound to its data; compiled once each."""

    def __init__(self, config: Config, dataset: data.Dataset):
        self.config = config
        self.model = lottery_config.model(config)
        self.apply = lift.masked(self.model.apply)

        def flat(x):
            return x.reshape(len(x), -1) if config.model == "mlp" else x

        def put(split):
            return (jnp.asarray(flat(split.x)), jnp.asarray(split.y))

        self.images = dataset.train.x
        self.training, self.test = put(dataset.train), put(dataset.test)
        self.doing = "the start"  # for messages
        self.rewind: Any = None  # the state that rounds rewind to, once there is one
        per_epoch = len(self.images) // config.batch_size
        if not per_epoch:
            raise ValueError(
                f"batch_size {config.batch_size} is larger than the "
                f"{len(self.images)} training images"
            )
        self.steps = lottery_config.epochs(config) * per_epoch
        if not 0 <= config.rewind_to < self.steps:
            raise ValueError(
                f"rewind_to must be in [0, {self.steps}), the steps of a training, "
                f"got {config.rewind_to}"
            )
        self.optimizer = lottery_config.optimizer(config, self.steps)
        self.keys = jax.vmap(jax.random.key)(jnp.array(config.seeds))
        # the second order of the data is for the barrier
        shared = jax.random.key(config.data_seed)
        base = shared if config.share_data_order else self.keys
        example = self.training[0][0]
        self.init = jax.jit(jax.vmap(lambda key: self.model.init(key, example)))

        def anywhere(key, mask):
            return masks.fixed_size(key, mask, masks.count(mask))

        self.draw = {
            "random": jax.jit(jax.vmap(anywhere)),
            "shuffled": jax.jit(jax.vmap(prune.shuffle)),
        }
        self.orders = [_fold(base, 100), _fold(base, 101)]

    def start(self) -> tuple[train.State, Any]:
        """The states before training and the masks that keep everything, stacked."""
        mask = lottery_config.prunable(self.config)

        def stack(leaf):
            return jnp.broadcast_to(leaf, (len(self.keys), *leaf.shape))

        return self.fresh(0), jax.tree.map(stack, mask)

    def fresh(self, draw: int) -> train.State:
        """Newly initialised states; `draw` 0 is where the lottery starts."""
        params = self.init(_fold(self.keys, draw))
        return train.init(params, self.optimizer, _fold(self.keys, 1))

    def train(self, state, mask, stop=None, order=0) -> train.State:
        """Train all seeds to step `stop`."""
        try:
            state, _ = train.fit(
                self.apply,
                state.params,
                Masks(mask, {}),
                self.training,
                optimizer=self.optimizer,
                batch_size=self.config.batch_size,
                key=state.key,
                steps=self.steps if stop is None else stop,
                data_key=self.orders[order],
                state=state,
            )
        except train.NotFinite as error:
            seeds = trees.listed([self.config.seeds[i] for i in error.networks])
            raise ValueError(
                f"the loss of seed {seeds} is not finite at step {error.step} "
                f"(after {self.doing}); finished levels are kept; lower learning_rate "
                "or leave the seed out"
            ) from error
        return state

    def score(self, state) -> Any:
        """The score of one network's weights."""
        if self.config.score == "magnitude":
            return prune.magnitude(state.params)
        if self.config.score == "random":
            return prune.random(_fold(state.key, 2), state.params)
        x, y = (array[:1000] for array in self.training)

        def loss(p):
            return train.cross_entropy(self.model.apply(p, x), y)

        return prune.snip(state.params, jax.grad(loss)(state.params))

    def measure(self, ticket: Ticket) -> list[dict[str, Any]]:
        """Records of a ticket and its controls, for every seed."""
        if not ticket.level:
            self.rewind = ticket.start
        records = self._records("ticket", ticket, ticket.mask, ticket.start)
        if not ticket.level:
            return records
        for control in self.config.controls:
            mask, weights = self._control(control, ticket)
            start = ticket.start._replace(params=weights)
            records += self._records(control, ticket, mask, start)
        return records

    def _control(self, control, ticket):
        """Mask and initial weights; schedule and data are the ticket's."""
        if control == "reinit":
            return ticket.mask, self.fresh(1000 + ticket.level).params
        which = 2000 if control == "random" else 3000
        keys = _fold(self.keys, which + ticket.level)
        return self.draw[control](keys, ticket.mask), self.rewind.params

    def _records(self, variant, ticket, mask, start):
        self.doing = f"level {ticket.level}, {variant}"
        stop = int(ticket.trained.step[0])

        def again(order):
            return self.train(start, mask, stop, order).params

        params = ticket.trained.params if variant == "ticket" else again(0)
        results = self._evaluate(params, mask)
        heights = [None] * len(self.keys)
        if self.config.barrier:
            heights = self._barrier(params, again(1), mask).tolist()
        return [
            {
                "level": ticket.level,
                "variant": variant,
                "seed": seed,
                "kept": sum(kept.values()),
                "density": sum(kept.values()) / total,
                "kept_per_layer": kept,
                "test_accuracy": float(results["accuracy"][i]),
                "test_loss": float(results["loss"][i]),
                "barrier": heights[i],
                "idle": _idle(jax.tree.map(lambda leaf, i=i: leaf[i], params)),
            }
            for i, seed in enumerate(self.config.seeds)
            for kept, total in [_counts(mask, i)]
        ]

    def _evaluate(self, params, mask):
        keep = Masks(mask, {})
        return train.evaluate(self.apply, params, keep, self.test, stacked=True)

    def _barrier(self, a, b, mask):
        return _barriers(self.apply, a, b, Masks(mask, {}), self.test)


@partial(jax.jit, static_argnums=0)
def _barriers(apply, a, b, keep, test):
    """Height of the test-error barrier between stacked networks."""

    def one(a, b, keep):
        def error(p):
            return 1 - train.evaluate(apply, p, keep, test)["accuracy"]

        return prune.barrier(error, a, b).height

    return jax.vmap(one)(a, b, keep)


def _fold(keys, number):
    """A new key for each of one or several."""

    def fold(key):
        return jax.random.fold_in(key, number)

    return jax.vmap(fold)(keys) if keys.ndim else fold(keys)


def _about() -> dict[str, Any]:
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "numpy": np.__version__,
        "device": f"{device.platform}:{device.device_kind}",
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _measured(folder, config, report) -> list[dict[str, Any]]:
    """The records of a folder, up to the first level that does not have all of them."""
    try:
        found = runs.read_metrics(folder)
        levels = [list(group) for _, group in it.groupby(found, lambda r: r["level"])]
    except (runs.DamagedFile, KeyError, TypeError) as error:
        report(f"damaged: metrics.jsonl: {error}; making its levels again")
        return []

    def whole(level, rows):
        return len(rows) == len(config.seeds) * (
            1 + (level > 0) * len(config.controls)
        ) and all(row["level"] == level for row in rows)

    good = it.takewhile(lambda pair: whole(*pair), enumerate(levels))
    return [row for _, rows in good for row in rows]


def _counts(mask, seed) -> tuple[dict[str, int], int]:
    one = jax.tree.map(lambda leaf: leaf[seed], mask)
    return masks.counts(one), sum(masks.sizes(one).values())


def _idle(params) -> dict[str, dict[str, int]]:
    found = prune.idle(params)
    return {
        name: {
            "constant": int(units.constant.sum()),
            "unread": int((units.unread & ~units.constant).sum()),
            "units": len(units.constant),
        }
        for name, units in found.items()
    }


def _line(records, levels) -> str:
    """One line of progress for a level."""
    first = records[0]

    def mean(variant):
        return np.mean([r["test_accuracy"] for r in records if r["variant"] == variant])

    variants = dict.fromkeys(r["variant"] for r in records)
    scores = "  ".join(f"{v} {mean(v):.2%}" for v in variants)
    return (
        f"level {first['level']:2d}/{levels - 1}  {first['kept']:6d} weights "
        f"({first['density']:6.2%})  {scores}"
    )
