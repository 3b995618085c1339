"""A lottery run from start to end: every arm of every level, made or gone on with.

Reproduces and extends Böhm, Kirk, Gavenčiak, "Sparsity and interpretability?" (2020):
an MNIST network of 784-32-32-10 pruned to 2% of its weights. A run that was killed goes
on with the arm and the level it was at and ends with the same arrays, bit for bit.

    <folder>/rewind.npz              the state that every round rewinds to
    <folder>/level_03/ARM.npz        mask/..., params/...; of arms that prune by
                                     themselves also opt_state/..., step, key; each
                                     with a leading axis over seeds
    <folder>/metrics.jsonl           a line for each level, arm and seed
    <folder>/fig_*.svg, index.html
    <folder>/flowgraph/              the last ticket of the first seed as a flow graph
"""

import contextlib
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from sparsejax import prune
from sparsejax.experiments import flowgraph
from sparsejax.experiments._study.run import Study
from sparsejax.experiments._study.subject import Subject
from sparsejax.experiments._study.subject import folder as place
from sparsejax.experiments.lottery import (
    checkpoints,
    looking,
    pruning,
    reading,
    report,
)
from sparsejax.experiments.lottery.book import Book
from sparsejax.experiments.lottery.config import (
    CONTROLS,
    SEQUENCES,
    Config,
    is_residual,
    resolve,
)
from sparsejax.experiments.lottery.lab import Lab
from sparsejax.experiments.lottery.measure import Record
from sparsejax.experiments.lottery.tasks import Task, task
from sparsejax.flowgraph import TooLarge
from sparsejax.prune import Ticket

Log = Callable[[str], Any]


def plan(
    config: Config,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
) -> str:
    """What a run will do, in a line; its data are looked for.

    Raises:
        ValueError: for anything in the config that does not exist or cannot be.
    """
    rounds, _ = _prepared(config, data_dir)
    return f"{len(rounds.counts)} levels, weights kept: {rounds.counts}"


def run(
    config: Config,
    folder: str | Path,
    subject: Subject | None = None,
    *,
    data_dir: str | Path | None = None,
    force: bool = False,
    log: Log = print,
) -> list[Record]:
    """Run, or go on with, an experiment.

    Args:
        config: what to run.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: unused, since networks are trained here.
        data_dir: folder of the data set's files.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Returns:
        The records of `metrics.jsonl`.

    Raises:
        ValueError: for bad input, and when a loss is not finite: the levels before are
            kept.
    """
    folder = Path(folder)
    rounds, lab = _prepared(config, data_dir)
    with Study("lottery", config, folder, force=force, log=log) as study:
        if study.complete:
            return study.records
        book = Book(study, lab, len(rounds.counts))
        with _precision(config):
            for arm in SEQUENCES:
                if arm in lab.config.arms:
                    _sequence(book, arm, rounds)
        images = lab.task._replace(training=(None, None))
        together = lab.together
        del book, lab  # the training images, and all networks
        gc.collect()
        graph = _flow_graph(study, images) if together else None
        link = None if graph is None else f"{graph}/index.html"
        report.write(study, reading.read(folder), images.shape, flow_graph=link)
    return study.records


def summary(folder: str | Path) -> str:
    """Three lines on a finished run: what was found, where it is, what to do next."""
    of, folder = reading.read(folder), Path(folder)
    finding = report.finding(of.config, of.records)
    if is_residual(of.config):
        return (
            f"{finding}\nopen {folder / 'index.html'}\n"
            f"next: sparsejax dissect --run={folder}"
        )
    return (
        f"{finding}\n"
        f"open {folder / 'index.html'}, which leads to the last ticket's flow graph\n"
        f"next: sparsejax flowgraph --run={folder} --exact, or --exclude=dense_0 here"
    )


def _prepared(config: Config, data_dir) -> tuple[pruning.Rounds, Lab]:
    """The rounds, and what is done in them, of a config that can be run."""
    whole, images = resolve(config), task(config, data_dir)
    rounds = pruning.of_form(whole, images.shape, images.outputs)
    return rounds, Lab(whole, images)


def _sequence(book: Book, arm: str, rounds: pruning.Rounds) -> None:
    """An arm that prunes by itself and, of "rewind", the controls that follow it."""
    lab, config = book.lab, book.lab.config
    weights_from, schedule_from = SEQUENCES[arm]
    tickets = book.tickets(arm)
    if arm == "rewind" and tickets:
        book.log(f"resuming after level {len(tickets) - 1} in {book.folder}")
        book.rewind = tickets[0].start
        for ticket in tickets[1:]:
            _controls(book, ticket)
    elif len(tickets) > 1:
        book.log(f"resuming after level {len(tickets) - 1} of {arm}")

    def on_round(ticket: Ticket) -> None:
        level, stop = ticket.level, int(ticket.trained.step[0])
        params = ticket.trained.params

        def again():
            return lab.train(ticket.start, ticket.mask, stop, order=1).params

        if not level:
            book.rewind = ticket.start
            checkpoints.save_rewind(book.folder, ticket.start)
        book.add(arm, level, params, ticket.mask, again)
        # Last: a level without it is made again.
        checkpoints.save_state(book.folder, level, arm, ticket.trained, ticket.mask)
        if arm == "rewind":
            _controls(book, ticket, new=True)
        else:
            book.tell(level, (arm,))

    done = prune.lottery(
        lab.train,
        book.state,
        book.mask,
        rounds=len(rounds.fractions),
        fraction=rounds.fractions,
        scope=rounds.scopes,
        rewind_to=config.rewind_to,
        weights_from=weights_from,
        schedule_from=schedule_from,
        score=lab.score,
        allow_empty=bool(config.allow_empty),
        tickets=tickets,
        on_round=on_round,
    )
    book.dense = done[:1]


def _controls(book: Book, ticket: Ticket, new: bool = False) -> None:
    """Train what is compared with a ticket, on the schedule that rounds rewind to."""
    lab, level = book.lab, ticket.level
    arms = tuple(arm for arm in CONTROLS if arm in lab.config.arms and level)
    for arm in arms:
        if not new and book.has(arm, level):
            book.left -= 1
            continue
        mask, fresh = lab.control(arm, level, ticket.mask)
        params = book.rewind.params if fresh is None else fresh
        start = book.rewind._replace(params=params)

        def again(order=1, start=start, mask=mask):
            return lab.train(start, mask, order=order).params

        trained = again(order=0)
        book.add(arm, level, trained, mask, again)
        checkpoints.save_network(book.folder, level, arm, trained, mask)
        new = True
    if new:
        book.tell(level, ("rewind", *arms))


def _flow_graph(study: Study, images: Task) -> str | None:
    """The first seed's last ticket as a flow graph, unless it is too large.

    Args:
        study: what is being run.
        images: those to test on.

    Returns:
        The folder of its page, as of the run's.
    """
    config = flowgraph.Config()
    subject = looking.subject(study.folder, images=images)
    folder = place("flowgraph", config, subject, None)
    try:
        flowgraph.run(config, folder, subject, log=lambda line: None)
    except TooLarge as error:
        study.log(f"no flow graph of the last ticket: {error}")
        return None
    inside = folder.relative_to(study.folder).as_posix()
    study.encloses(inside)
    return inside


def _precision(config: Config):
    if config.precision == "default":
        return contextlib.nullcontext()
    return jax.default_matmul_precision(config.precision)
