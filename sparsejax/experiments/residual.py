"""Residual networks through lottery rounds: train, prune, rewind, train again.

Statistics of batch normalisation go with the weights. Networks are pruned by the
magnitude of all kernels ranked together, and rewound to a step early in the first
training; fine-tuning and random tickets are there to compare.

    <folder>/seed_0/ARM/level_03/checkpoint.npz   mask/..., params/..., opt_state/...
    <folder>/seed_0/ARM/metrics.jsonl             a line for each level
    <folder>/metrics.jsonl                        all of them
    <folder>/fig_accuracy.svg, index.html

A run that was killed goes on with the level it was at.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import lift, masks, models, pages, plots, prune, runs, train
from sparsejax.experiments import checkpoints, residual_config
from sparsejax.experiments.residual_config import ARMS as ARMS
from sparsejax.experiments.residual_config import CHOICES as CHOICES
from sparsejax.experiments.residual_config import Config as Config
from sparsejax.experiments.residual_config import check as check
from sparsejax.prune import Ticket

NAMES = {
    "rewind": "lottery tickets, rewound",
    "finetune": "fine-tuned",
    "random": "random tickets",
}


def run(
    config: Config,
    folder: str | Path,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    report: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Run, or go on with, all seeds and arms; the records of `metrics.jsonl`.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        data_dir: folder of CIFAR-10's files.
        force: remove an earlier run of this config first.
        report: called with lines of progress.

    Raises:
        ValueError: for bad input, and when a loss is not finite: the levels before are
            kept.
    """
    folder = Path(folder)
    check(config)
    task = residual_config.task(config, data_dir)
    lab = _Lab(config, task)
    about = {"jax": jax.__version__, "devices": [str(d) for d in jax.devices()]}
    if runs.start(folder, config, kind="train", about=about, force=force):
        report(f"{folder} is complete; --force runs it again")
        return runs.read_metrics(folder)
    records: list[dict[str, Any]] = []
    with _precision(config):
        for seed in config.seeds:
            dense = None
            for arm in sorted(config.arms, key=ARMS.index):
                tickets, found = lab.arm(folder, seed, arm, dense, report)
                dense = dense or tickets
                records += found
                runs.write_metrics(folder, records)
    _write(folder, config, records)
    runs.finish(folder)
    return records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    folder = Path(folder)
    return (
        f"{_finding(runs.read_metrics(folder))}\n"
        f"open {folder / 'index.html'}\n"
        f"next: python launch/dissect.py --run={folder}"
    )


class _Lab:
    """The functions of one experiment, bound to its data; compiled once each."""

    def __init__(self, config: Config, task: residual_config.Task):
        self.config, self.task = config, task
        per_epoch = len(task.training[0]) // config.batch_size
        self.steps = config.epochs * per_epoch
        if not config.rewind_to < self.steps:
            raise ValueError(
                f"rewind_to must be below {self.steps}, the steps of a training of "
                f"{len(task.training[0])} images, got {config.rewind_to}"
            )
        self.model = residual_config.model(config, task.outputs)
        self.apply = lift.masked(self.model.train_apply)
        self.optimizer = residual_config.optimizer(config, self.steps)

    def arm(self, folder, seed: int, arm: str, dense, report):
        """Tickets and records of one arm of one seed, made or gone on with."""
        where = folder / f"seed_{seed}" / arm
        state, mask = self.start(seed)
        records = runs.read_metrics(where) if (where / "metrics.jsonl").exists() else []
        measured = {record["level"] for record in records}
        done = checkpoints.resume(where, state, mask, measured, report)
        records = [r for r in records if r["level"] < len(done)]
        began = time.perf_counter()

        def on_round(ticket: Ticket) -> None:
            records.append(self.measure(ticket, seed, arm))
            runs.write_metrics(where, records)
            checkpoints.save(where, ticket)  # last: a level without it is made again
            last = records[-1]
            report(
                f"seed {seed}, {arm}, level {ticket.level} of {self.config.rounds}: "
                f"{last['density']:.2%} of weights, accuracy "
                f"{last['test_accuracy']:.2%}, {time.perf_counter() - began:.0f} s"
            )

        if not done and dense:  # arms share the first training
            done = [dense[0]]
            on_round(done[0])
        if arm == "random":
            return self.random(dense, done, seed, on_round), records
        tuned = arm == "finetune"
        found = prune.lottery(
            partial(self.train, doing=f"seed {seed}, {arm}"),
            state,
            mask,
            rounds=self.config.rounds,
            fraction=self.config.fraction,
            scope="global",
            rewind_to=self.config.rewind_to,
            weights_from="trained" if tuned else "rewind",
            schedule_from="final" if tuned else "rewind",
            tickets=done,
            on_round=on_round,
            allow_empty=True,  # shortcuts lead around empty layers
        )
        return found, records

    def random(self, tickets, done, seed: int, on_round) -> list[Ticket]:
        """As many weights in every layer as each ticket, anywhere."""
        key, found = jax.random.fold_in(jax.random.key(seed), 3), list(done)
        for ticket in tickets[len(done) :]:
            mask = prune.shuffle(jax.random.fold_in(key, ticket.level), ticket.mask)
            rewound = tickets[0].start
            start = rewound._replace(params=masks.zero(rewound.params, mask))
            doing = f"seed {seed}, random"
            trained = self.train(start, mask, None, doing=doing)
            found.append(Ticket(ticket.level, mask, start, trained))
            on_round(found[-1])
        return found

    def start(self, seed: int) -> tuple[train.State, Any]:
        """The state before training, and the mask of all kernels."""
        for_init, for_training = jax.random.split(jax.random.key(seed))
        image = self.task.training[0][0]
        params = self.model.init(for_init, image)
        state = train.init(params, self.optimizer, for_training, models.is_trainable)
        return state, masks.ones(self.model.apply, params, image).weights

    def train(self, state, mask, stop=None, *, doing: str = "") -> train.State:
        """Train to step `stop`, or to the end."""
        try:
            found, _ = train.fit(
                self.apply,
                state.params,
                masks.Masks(mask, {}),
                self.task.training,
                optimizer=self.optimizer,
                batch_size=self.config.batch_size,
                key=state.key,
                loss=self.task.loss,
                steps=self.steps if stop is None else stop,
                state=state,
                trainable=models.is_trainable,
                stateful=True,
            )
        except train.NotFinite as error:
            raise ValueError(
                f"the loss is not finite at step {error.step} ({doing}); "
                "finished levels are kept; lower learning_rate"
            ) from error
        return found

    def measure(self, ticket: Ticket, seed: int, arm: str) -> dict[str, Any]:
        x, y = self.task.test
        params = ticket.trained.params
        parts = [_logits(self.model.apply, params, x[i : i + 250])
                 for i in range(0, len(x), 250)]  # fmt: skip
        logits = np.concatenate(parts)
        kept = int(masks.count(ticket.mask))
        return {
            "seed": seed,
            "arm": arm,
            "level": ticket.level,
            "kept": kept,
            "density": kept / sum(masks.sizes(ticket.mask).values()),
            "test_accuracy": self.task.accuracy(logits, y),
            "test_loss": float(self.task.loss(jnp.asarray(logits), jnp.asarray(y))),
        }


_logits = jax.jit(lambda apply, params, x: apply(params, x), static_argnums=0)


def _precision(config: Config):
    if config.precision == "float32":
        return contextlib.nullcontext()
    return jax.default_matmul_precision(config.precision)


def _finding(records) -> str:
    """How far the first arm can be pruned without losing a point."""

    def mean(level):
        return np.mean(
            [r["test_accuracy"] for r in records
             if r["arm"] == "rewind" and r["level"] == level]
        )  # fmt: skip

    density = {r["level"]: r["density"] for r in records if r["arm"] == "rewind"}
    good = max(level for level in density if mean(level) >= mean(0) - 0.01)
    return (
        f"Accuracy is {mean(0):.1%} with all weights, and within a point of it down to "
        f"{density[good]:.1%} of them"
    )


def _write(folder: Path, config: Config, records) -> None:
    """The curve and a page."""
    series = {}
    for arm in sorted(config.arms, key=ARMS.index):
        rows = [r for r in records if r["arm"] == arm]
        levels = sorted({r["level"] for r in rows})

        def pick(level, rows=rows):
            return [r for r in rows if r["level"] == level]

        series[NAMES[arm]] = (
            [pick(level)[0]["density"] for level in levels],
            [[r["test_accuracy"] for r in pick(level)] for level in levels],
        )
    title = f"{config.model} on {Path(config.dataset).name}"
    figure = plots.against_density(series, title=title, ylabel="test accuracy")
    plots.save(figure, folder / "fig_accuracy.svg")
    caption = "Thin lines are seeds, thick ones their means."
    shown = pages.figure_svg(
        (folder / "fig_accuracy.svg").read_bytes(), caption, caption
    )
    rows = [(name.replace("_", " "), _told(value))
            for name, value in dataclasses.asdict(config).items()]  # fmt: skip
    html = pages.page(
        f"Pruning {title}",
        pages.section("Accuracy", shown),
        pages.section("What was run", pages.table(rows, ("", "value"))),
        lead=_finding(records),
        footer="Frankle, Dziugaite, Roy, Carbin, Stabilizing the Lottery Ticket "
        "Hypothesis, arXiv:1903.01611.",
    )
    runs.write_text(folder / "index.html", html)


def _told(value: Any) -> Any:
    """A field's value for a table."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or None
    return f"{value:g}" if isinstance(value, float) else value
