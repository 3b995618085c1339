"""What is there of a lottery run: levels to go on after, records, and time left."""

import time
from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from sparsejax import runs
from sparsejax.experiments._study.records import group
from sparsejax.experiments._study.run import Study
from sparsejax.experiments.lottery import checkpoints, measure
from sparsejax.experiments.lottery.config import ARMS, Config
from sparsejax.experiments.lottery.lab import Lab
from sparsejax.experiments.lottery.measure import Record
from sparsejax.prune import Ticket


class Book:
    """What is there of a run, and what is added to it."""

    def __init__(self, study: Study, lab: Lab, levels: int):
        self.study, self.folder, self.log = study, study.folder, study.log
        self.lab, self.levels = lab, levels
        study.records = _records(study, lab)
        self.state, self.mask = lab.start()
        self.rewind: Any = None  # the state that rounds rewind to, once there is one
        self.dense: list[Ticket] = []  # the first ticket, which arms share
        arms = set(lab.config.arms)
        self.left = 1 + (levels - 1) * len(arms)  # trainings
        self.began, self.made = time.perf_counter(), 0
        self.compiled = self.began  # when the first training, which compiles, was done

    @property
    def records(self) -> list[Record]:
        """The records by now."""
        return self.study.records

    def rows(self, arm: str, level: int) -> list[Record]:
        """The records of an arm at a level."""
        return [r for r in self.records if (r["arm"], r["level"]) == (arm, level)]

    def tickets(self, arm: str) -> list[Ticket]:
        """The levels of an arm that are there, up to the first that is not whole."""
        tickets = [] if arm == "rewind" else list(self.dense)
        while self.rows(arm, level := len(tickets)) and level < self.levels:
            ticket = self._read(arm, level)
            if ticket is None:
                break
            tickets.append(ticket)
            if level or arm == "rewind":
                self.hold(arm, level)
        self.drop(arm, len(tickets))
        self.left -= len(tickets) - (arm != "rewind")
        return tickets

    def has(self, arm: str, level: int) -> bool:
        """Whether a control's level is whole."""
        at, seeds = 0, len(self.lab.config.seeds)
        if not self.rows(arm, level):
            return False
        try:
            checkpoints.read_network(self.folder, level, arm, at, seeds, sealed=True)
        except runs.DamagedFile as error:
            self.log(f"damaged: {error}; making {arm} of level {level} again")
            return False
        self.hold(arm, level)
        return True

    def drop(self, arm: str, level: int) -> None:
        """Forget the records of an arm from a level on."""
        self.study.records = [
            r for r in self.records if r["arm"] != arm or r["level"] < level
        ]

    def add(self, arm: str, level: int, params: PyTree, mask: PyTree, again) -> None:
        """Measure an arm at a level, and write the records."""
        self.lab.doing = f"level {level}, {arm}"
        self.hold(arm, level)
        rows = measure.records(self.lab, arm, level, params, mask, again)
        records = [r for r in self.records if (r["arm"], r["level"]) != (arm, level)]
        self.study.records = sorted(records + rows, key=_place(self.lab.config))
        self.study.write_records()
        self.left -= 1
        self.made += 1
        if self.made == 1:
            self.compiled = time.perf_counter()

    def hold(self, arm: str, level: int) -> None:
        """Say that the files of an arm at a level must be there at the end."""
        at = checkpoints.path(self.folder, level, arm)
        self.study.holds("rewind.npz")
        self.study.holds(at.relative_to(self.folder).as_posix())

    def tell(self, level: int, arms: tuple[str, ...]) -> None:
        """A line of progress."""
        rows = [row for arm in arms for row in self.rows(arm, level)]
        now = time.perf_counter()
        line = f"{measure.line(rows, self.levels)}  {now - self.began:5.0f} s"
        if self.made > 1:
            left = (now - self.compiled) / (self.made - 1) * self.left
            line += f", {left:.0f} s left"
        self.log(line)

    def _read(self, arm: str, level: int) -> Ticket | None:
        like = self.state, self.mask
        if not checkpoints.path(self.folder, level, arm).exists():
            return None
        try:
            rewind = checkpoints.read_rewind(self.folder, self.state)
            trained, mask = checkpoints.read_state(self.folder, level, arm, *like)
        except ValueError as error:
            self.log(f"damaged: {error}; making level {level} again")
            return None
        return Ticket(level, mask, rewind, trained)


def _records(study: Study, lab: Lab) -> list[Record]:
    """The records of a folder, those of levels and arms that have all of them."""
    there = (r for r in study.earlier() if {"arm", "level", "seed"} <= r.keys())
    seeds = list(lab.config.seeds)
    whole = [
        rows for (arm, _), rows in group(there, "arm", "level").items()
        if arm in ARMS and [row["seed"] for row in rows] == seeds
    ]  # fmt: skip
    return [row for rows in whole for row in rows]


def _place(config: Config) -> Callable[[Record], tuple[int, int, int]]:
    """The place of a record in `metrics.jsonl`."""
    arms, seeds = ARMS.index, config.seeds.index
    return lambda r: (r["level"], arms(r["arm"]), seeds(r["seed"]))
