"""A run from its start to its end: resumed, timed, reported, complete or not at all."""

import contextlib
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from sparsejax import __version__, runs, train
from sparsejax.experiments._study.subject import Subject

Arrays = Mapping[str, np.ndarray]
Records = list[dict[str, Any]]
T = TypeVar("T")


class Study:
    """A run folder that is being filled.

        with Study("spade", config, folder, subject, force=force, log=log) as study:
            if study.complete:
                return study.records
            for seed in study.each(config.seeds):
                make = partial(measure.seed, config, seed)
                arrays = study.cached(f"seed_{seed}", make)
                study.add(measure.records(seed, arrays))
                study.progress(f"seed {seed}: ...")
            report.write(study)
        return study.records

    Whatever `cached` and `measured` have written is read, not made, when a run that was
    killed is started again. The block's end marks the run as complete; an error leaves
    it to be gone on with.

    Args:
        kind: name of the experiment.
        config: its frozen config.
        folder: where; a folder of an unfinished run of the same config is continued.
        subject: what is looked at, where it is an earlier run or a file.
        force: remove an earlier run of this config first.
        log: called with lines of progress.

    Attributes:
        complete: whether there is nothing left to do.
        records: lines of `metrics.jsonl`; of a complete run those that are there.

    Raises:
        ValueError: if the folder holds anything but this run.
    """

    def __init__(
        self,
        kind: str,
        config: Any,
        folder: str | Path,
        subject: Subject | None = None,
        *,
        force: bool = False,
        log: Callable[[str], Any] = print,
    ):
        self.kind, self.config, self.folder = kind, config, Path(folder)
        self.log, self.subject = log, subject
        source = {} if subject is None else subject.source
        self._clock = _Clock()
        self._before: Records | None = None
        self._files: set[str] = set()
        self._inside: set[str] = set()
        self._lock = runs.lock(folder)
        try:
            about = {"about": _about(), "subject": source}
            self.complete = runs.start(
                folder, config, kind=kind, force=force, log=log, **about
            )
            self.records: Records = runs.read_metrics(folder) if self.complete else []
        except BaseException:
            self._lock.release()
            raise
        if self.complete:
            log(f"{folder} is complete; --force runs it again")

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None and not self.complete:
                self.write_records()
                runs.finish(self.folder, files=self._files, inside=self._inside)
            elif isinstance(error, Exception):
                self._keep_traceback(error)
        finally:
            self._lock.release()

    def holds(self, name: str) -> None:
        """Say of a file that was written without the study that it must be there."""
        self._files.add(name)

    def encloses(self, name: str) -> None:
        """Say of a run inside the folder that it is part of this one."""
        self._inside.add(name)

    def each(
        self, parts: Iterable[T], cost: Callable[[T], float] = lambda part: 1.0
    ) -> Iterator[T]:
        """The parts in turn, with the clock running.

        Args:
            parts: of the run, or of a level of it.
            cost: how long each takes, in any unit, for the estimate of the time left.
        """
        parts = list(parts)
        self._clock = _Clock([float(cost(part)) for part in parts])
        for part in parts:
            yield part
            self._clock.next()

    def progress(self, line: str) -> None:
        """A line on the part that has just been made, with the time spent and left.

        None of a part that was there already.
        """
        if self._clock.working is not False:
            self.log(f"{line}  {self._clock}")

    def cached(self, name: str, make: Callable[[], Arrays]) -> dict[str, np.ndarray]:
        """Arrays of `NAME.npz`, made and written where they cannot be read."""

        def timed() -> Arrays:
            self._clock.working = True
            return make()

        self._clock.working = self._clock.working or False
        self.holds(f"{name}.npz")
        return runs.cached(self.folder / f"{name}.npz", timed, self.log)

    def note(
        self, name: str, arrays: Arrays, rtol: float = 0.0, atol: float = 0.0
    ) -> None:
        """Keep what is looked at as `NAME.npz`: a folder is of one network.

        Args:
            name: of the file.
            arrays: what is to be the same whenever the run goes on.
            rtol: how much may differ, as of `np.allclose`.
            atol: see `rtol`.

        Raises:
            ValueError: if other arrays are there.
        """
        self.holds(f"{name}.npz")
        there = runs.cached(self.folder / f"{name}.npz", lambda: arrays, self.log)
        if there.keys() != arrays.keys() or not all(
            np.shape(there[k]) == np.shape(arrays[k])
            and np.allclose(there[k], arrays[k], rtol, atol, equal_nan=True)
            for k in arrays
        ):
            raise ValueError(
                f"{self.folder} holds a run on another network; choose another folder "
                "or remove it"
            )

    def measured(
        self,
        name: str,
        make: Callable[[], tuple[Records, Arrays]],
        *,
        count: int = 1,
        **where: Any,
    ) -> dict[str, np.ndarray]:
        """Arrays of `NAME.npz`, and records that cannot be had from them.

        Args:
            name: of the file.
            make: what gives records, and arrays.
            count: number of these records; if there are others, all is made again.
            **where: fields by which they are told from other records, as `seed=3`.
        """
        records = self._there(count, where)
        if not records:
            (self.folder / f"{name}.npz").unlink(missing_ok=True)

        def both() -> Arrays:
            records[:], arrays = make()
            return arrays

        arrays = self.cached(name, both)
        self.add(records)
        return arrays

    def recorded(
        self, make: Callable[[], Records], *, count: int = 1, **where: Any
    ) -> Records:
        """Records alone, those that are there or made; arguments as of `measured`."""
        records = self._there(count, where)
        self._clock.working = self._clock.working or not records
        if not records:
            records = make()
        self.add(records)
        return records

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """More lines of `metrics.jsonl`.

        It is written with what comes after them of the run that was killed, so that
        nothing is lost if this one is.
        """
        self.records += map(dict, records)
        told = set(map(runs.as_line, self.records))
        later = [r for r in self.earlier() if runs.as_line(r) not in told]
        runs.write_metrics(self.folder, [*self.records, *later])

    def write_records(self) -> None:
        """Write `metrics.jsonl` as it is by now."""
        runs.write_metrics(self.folder, self.records)

    def _there(self, count: int, where: Mapping[str, Any]) -> Records:
        """Records with these values of the run that was killed, if all are there."""
        records = [
            record for record in self.earlier()
            if all(key in record and record[key] == v for key, v in where.items())
        ]  # fmt: skip
        return records if len(records) == count else []

    def earlier(self) -> Records:
        """The records of the run that was killed, those that are whole."""
        if self._before is None:
            self._before = runs.read_whole_metrics(self.folder, self.log)
        return self._before

    def _keep_traceback(self, error: Exception) -> None:
        """Add a traceback to the folder's log, if there is still room for it."""
        with contextlib.suppress(OSError, runs.FolderGone):
            self._lock.check()
            path = self.folder / runs.LOG
            with open(path, "a", encoding="utf-8", errors="replace") as file:
                file.write(time.strftime("%Y-%m-%d %H:%M:%S\n"))
                file.writelines(traceback.format_exception(error))
            error.add_note(f"the traceback is in {path}")


@contextlib.contextmanager
def finite(what: str, remedy: str = "lower learning_rate") -> Iterator[None]:
    """A block that trains: one line where its loss is not finite.

    Args:
        what: is trained, as "seed 3, level 2".
        remedy: what to do.

    Raises:
        ValueError: for `train.NotFinite`.
    """
    try:
        yield
    except train.NotFinite as error:
        raise ValueError(
            f"the loss is not finite at step {error.step} ({what}); finished parts are "
            f"kept; {remedy}"
        ) from error


class _Clock:
    """Time spent, and what the parts left will take, read parts apart."""

    def __init__(self, costs: list[float] | None = None):
        self.costs = costs or []
        self.done = 0.0  # cost of what was made, not read
        self.began = time.perf_counter()
        self.working: bool | None = None  # whether the part is made, or read

    def next(self) -> None:
        cost = self.costs.pop(0)
        if self.working is not False:
            self.done += cost
        elif not self.done:  # only read so far
            self.began = time.perf_counter()
        self.working = None

    def __str__(self) -> str:
        spent = time.perf_counter() - self.began
        done = self.done + (self.costs[0] if self.costs else 0)
        left = spent / done * sum(self.costs[1:]) if done else 0
        return f"{spent:5.0f} s, {left:.0f} s left"


def _about() -> dict[str, str]:
    device = jax.devices()[0]
    return {
        "sparsejax": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{device.platform}:{device.device_kind} x {jax.device_count()}",
    }
