"""The command line of every experiment: `sparsejax NAME --flags`.

Only the experiment's module of configs is loaded for its flags (`_flags.py`) and
`--help`: JAX comes with the experiment itself.
"""

from sparsejax import _interrupts  # isort: split

import contextlib
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from absl import flags, logging

from sparsejax import _flags, _merge, _processes, _programs, experiments, runs
from sparsejax._flags import Values
from sparsejax.experiments._study import needs, shares

_LONGEST = 1000  # characters of a message
TRACEBACK = "the traceback is in"


def main(name: str | None = None, argv: Sequence[str] | None = None) -> None:
    """Run an experiment with a command line.

    Args:
        name: of the experiment; by default the first argument.
        argv: program and arguments; by default the process's.
    """
    _interrupts.listen()
    argv = list(sys.argv if argv is None else argv)
    program = f"python {argv[0]}" if argv[0].endswith(".py") else argv[0]
    if name is None:
        program = "sparsejax"
        if len(argv) < 2 or argv[1] in ("--help", "-h", "help"):
            print(listing())
            return
        name = argv.pop(1)
        if name == "merge":
            with _interrupts.ending():
                _end_in_a_line(partial(_merge.main, argv))
            return
        program = f"{program} {name}"
    if name not in experiments.EXPERIMENTS:
        known = ", ".join(experiments.EXPERIMENTS)
        raise SystemExit(f"error: unknown experiment {name!r}; expected one of {known}")
    spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
    with _interrupts.ending(), _processes.ending():
        _end_in_a_line(partial(called, name, spec, argv, program))


def listing() -> str:
    """All experiments, with a line and the minutes of each."""
    width = max(map(len, experiments.EXPERIMENTS))
    lines = [
        f"  {name:<{width}}  {what}\n  {'':<{width}}  {minutes}"
        for name, (what, minutes) in experiments.EXPERIMENTS.items()
    ]
    usage = (
        "usage: sparsejax NAME [--flags]; `sparsejax NAME --help` explains NAME\n"
        "       sparsejax merge FOLDERS, for runs with --shard"
    )
    return "\n".join([usage, "(times on two CPU cores)", "", *lines])


def called(name: str, spec: Any, argv: Sequence[str], program: str) -> None:
    """Parse flags and run, print the plan, or explain."""
    if {"--help", "-h", "-help", "--helpshort", "--helpfull"} & set(argv[1:]):
        _show(_flags.help_text(spec, program))
        return
    values = _flags.defined(spec)
    more = values(argv)[1:]
    if more:
        raise ValueError(f"unknown arguments {more}; flags begin with --")
    if values["force"].value:
        _interrupts.advice[0] = "run the same command without --force to resume"
    config = _flags.read(spec.Config, values)
    config = spec.named(config) if hasattr(spec, "named") else config
    if values["shard"].value is not None:
        config = shares.part(spec, config, values["shard"].value)
    needs.check(spec, config, values["out"].value or ".")  # before any is taken
    if hasattr(spec, "environment"):
        for key, value in spec.environment(config).items():
            os.environ.setdefault(key, value)  # read by XLA when it first runs
    place = {key: values[key].value for key in _processes.FLAGS}
    _processes.join(bool(place.pop("distributed")), *place.values())
    launch(name, spec, config, values, program)


def _show(text: str) -> None:
    """Print a text, of which `| head` may not read all."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def launch(name: str, spec: Any, config: Any, values: Values, program: str) -> None:
    """Run the experiment of a config, or print its plan."""
    logging.set_verbosity(logging.WARNING)
    from sparsejax.experiments import subjects
    from sparsejax.experiments._study import subject as subject_

    face = importlib.import_module(f"sparsejax.experiments.{name}")
    where = [values[key].value for key in _flags.WHERE]
    data_dir, out, _, programs, dry_run, force = where
    if not _processes.are_several():  # of which one alone would write
        _programs.keep(programs)
    source = {key: values[key].value for key in spec.SUBJECT}
    if hasattr(spec, "check_source"):
        spec.check_source(config, source)
    subject = subjects.chosen(source, data_dir=data_dir)
    folder = subject_.folder(name, config, subject, out)
    log = partial(print, flush=True) if _processes.is_first() else _quiet
    _processes.same([name, repr(config), subject and subject.source, _versions()])
    log(face.plan(config, subject, data_dir=data_dir))
    log(f"folder: {folder}")
    check = partial(runs.check_start, folder, config, kind=name, force=bool(force))
    _processes.first(check)
    if dry_run:
        return
    with _processes.place(folder, empty=bool(force)) as place, _all_devices(log):
        face.run(config, place, subject, data_dir=data_dir, force=force, log=log)
    log(_flags.worded(face.summary(folder), program))


def _quiet(line: str) -> None:
    """What processes but the first log."""


def _versions() -> list[str]:
    import jax
    import numpy

    from sparsejax import __version__

    return [__version__, jax.__version__, numpy.__version__]


@contextlib.contextmanager
def _all_devices(log: Callable[[str], Any]) -> Iterator[None]:
    """A mesh of all devices, where there are several, for what splits its work."""
    import jax

    from sparsejax import meshes

    if jax.device_count() == 1:
        yield
        return
    kind = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((jax.device_count(),), ("all",), axis_types=kind)
    with meshes.by_default(mesh) as split:
        yield
    if _processes.are_several() and not split:
        log("every process did all of the work, none of which is split: one is enough")


def _end_in_a_line(main: Callable[[], None]) -> None:
    """One line for whatever goes wrong; where it is a surprise, with its traceback."""
    try:
        main()
    except Exception as error:
        raise SystemExit(_line(error)) from None


def _line(error: Exception) -> str:
    if lost := _processes.line(error):
        return lost
    text = " ".join(line.strip() for line in str(error).splitlines())
    text = text if len(text) < _LONGEST else f"{text[:_LONGEST]} ..."
    if isinstance(error, MemoryError) or text.startswith("RESOURCE_EXHAUSTED"):
        return f"error: out of memory: {text}" if text else "error: out of memory"
    if isinstance(error, ValueError | OSError | flags.Error):
        return f"error: {text or type(error).__name__}"
    return f"error: unexpected {type(error).__name__}: {text}; {_traceback(error)}"


def _traceback(error: Exception) -> str:
    """Where the traceback of an error is: the run's log, or a file of its own."""
    notes = [n for n in getattr(error, "__notes__", ()) if n.startswith(TRACEBACK)]
    if notes:
        return notes[-1]
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="sparsejax-", suffix=".log", delete=False, errors="replace"
        ) as file:
            file.write(text)
        return f"{TRACEBACK} {file.name}"
    except OSError:
        return text
