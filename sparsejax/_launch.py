"""The command line of every experiment: `sparsejax NAME --flags`.

Flags are the fields of the experiment's `Config`, in its order, then what it looks at
(`SUBJECT` of its module of configs), then where the run goes. Only that module is
loaded for `--help`: JAX comes with the experiment itself.
"""

from sparsejax import _interrupts  # isort: split

import contextlib
import dataclasses
import importlib
import os
import re
import shutil
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags, logging

from sparsejax import _merge, _processes, _programs, experiments, runs
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study import needs, shares

SUBJECT = {
    "run": "Folder of the lottery run to analyze, or of an analysis in it, such as "
    "RUN/flowgraph/NAME, whose network is then the default.",
    "arm": 'Arm of the run; by default "rewind", the lottery tickets.',
    "run_seed": "Seed of the network in the run; by default the first.",
    "level": "Level of the run, 0 for the dense network; by default the last.",
    "model": "Pretrained residual network: resnet20 (the default), resnet56 or, but "
    "for spade, resnet18, resnet34 or resnet50.",
    "checkpoint": "File of the pretrained network's parameters; by default "
    "resnet_cifar10/MODEL_cifar10.safetensors in --data_dir.",
}
WHERE = {
    "data_dir": """Folder of data; by default the environment variable
SPARSEJAX_DATA_DIR. A run needs only what it uses of: MNIST and Fashion-MNIST (IDX files
in mnist/ and fashion_mnist/, as torchvision or Keras leaves them, or mnist.npz),
CIFAR-10 (its binary or Python version, packed or not, or cifar10/train.zip and test.zip
of class folders), resnet_cifar10/resnet20_cifar10.safetensors; see docs/data.md.
Digits, scenes, circles, spirals and CartPole need no data.""",
    "out": "Parent folder of the run's; by default results/runs/EXPERIMENT or, with "
    "--run, EXPERIMENT inside that run's folder.",
    "shard": "Share of the run, as 0/4 for the first of four: a run of its own, of "
    "some of the seeds; `sparsejax merge` puts the shares together.",
    "programs": "Folder of compiled programs, kept for the next start; by default one "
    "of your own, ~/.cache/sparsejax/programs; off for none. Never take somebody "
    "else's: what is there is run.",
    "dry_run": "Dry run: check the data, print the plan and the folder, and stop.",
    "force": "Fresh start: delete an earlier run of this config first.",
}
_WHOLE = ("run_seed", "level")
_SWITCHES = ("dry_run", "force", "distributed")
_NUMBERS = ("num_processes", "process_id")
_LONGEST = 1000  # characters of a message
TRACEBACK = "the traceback is in"
Values = flags.FlagValues


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
        _show(help_text(spec, program))
        return
    values = defined(spec)
    more = values(argv)[1:]
    if more:
        raise ValueError(f"unknown arguments {more}; flags begin with --")
    if values["force"].value:
        _interrupts.advice[0] = "run the same command without --force to resume"
    config = read(spec.Config, values)
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
    data_dir, out, _, programs, dry_run, force = (values[key].value for key in WHERE)
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
    log(_worded(face.summary(folder), program))


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


def defined(spec: Any) -> Values:
    """Flags of an experiment, not parsed yet."""
    values = Values()
    texts = config_.help_texts(spec.Config)
    choices = getattr(spec, "CHOICES", {})
    default = spec.Config()
    for field in dataclasses.fields(spec.Config):
        _define(field, getattr(default, field.name), texts[field.name],
                choices.get(field.name), values)  # fmt: skip
    for key in spec.SUBJECT:
        define: Callable = (
            flags.DEFINE_integer if key in _WHOLE else flags.DEFINE_string
        )
        define(key, None, SUBJECT[key], flag_values=values)
    for key, text in (WHERE | _processes.FLAGS).items():
        if key in _SWITCHES:
            flags.DEFINE_bool(key, False, text, flag_values=values)
        elif key in _NUMBERS:
            flags.DEFINE_integer(key, None, text, flag_values=values)
        else:
            flags.DEFINE_string(key, None, text, flag_values=values)
    return values


def _define(field, default: Any, text, choices, values) -> None:
    if choices and not isinstance(default, tuple):
        flags.DEFINE_enum(field.name, default, list(choices), text, flag_values=values)
        return
    define: Callable
    if isinstance(default, tuple):
        define, default = flags.DEFINE_list, list(map(str, default))
    elif isinstance(default, bool) or field.type == bool | None:
        define = flags.DEFINE_bool
    elif isinstance(default, str) or field.type == str | None:
        define = flags.DEFINE_string
    elif field.type in (float, float | None):
        define = flags.DEFINE_float
    else:
        define = flags.DEFINE_integer
    define(field.name, default, text, flag_values=values)


def read(config: type, values: Values) -> Any:
    """The config that flags describe."""
    fields = {}
    for field in dataclasses.fields(config):
        value = values[field.name].value
        if isinstance(value, list):
            value = config_.entries(field, value)
            if field.name == "seeds" and len(value) == 1 and value[0] > 1:
                n = value[0]
                print(f"one network, of seed {n}; --seeds=0:{n} is {n} networks")
        fields[field.name] = value
    return config(**fields)


def help_text(spec: Any, program: str) -> str:
    """The text of `--help`: the module's, then flags in the order of the config."""
    texts, default = config_.help_texts(spec.Config), spec.Config()
    choices = getattr(spec, "CHOICES", {})
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    lines = [_worded(spec.__doc__.strip(), program), "", "Experiment:"]
    for field in dataclasses.fields(spec.Config):
        value = getattr(default, field.name)
        switch = field.type == bool | None
        lines += _entry(field.name, value, texts[field.name], width,
                        choices.get(field.name), switch=switch)  # fmt: skip
    if spec.SUBJECT:
        lines += ["", "Network:"]
        for key in spec.SUBJECT:
            lines += _entry(key, None, SUBJECT[key], width)
    for title, entries in (("Files", WHERE), ("Processes", _processes.FLAGS)):
        lines += ["", f"{title}:"]
        for key, text in entries.items():
            lines += _entry(key, False if key in _SWITCHES else None, text, width)
    return "\n".join(lines)


def _entry(name, default, text, width, choices=None, switch=False) -> list[str]:
    """A flag's lines in the help."""
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if switch and default is None:
        head = f"--{name}, --no{name}"
    elif isinstance(default, bool):
        head = f"--{name}" if not default else f"--{name}, --no{name} (default: on)"
    else:
        empty = default is None or default == ""
        head = f"--{name}=" if empty else f"--{name}={default}"
    text = " ".join(text.split())
    choices = choices or ()
    if any(f'"{choice}"' not in text for choice in choices):
        text += f" One of {', '.join(choices)}."
    body = textwrap.wrap(text, width - 6, break_on_hyphens=False)
    return [f"  {head}", *(f"      {line}" for line in body)]


def _worded(text: str, program: str) -> str:
    """A text whose commands begin as this one was called."""
    if not program.startswith("python "):
        return text
    folder = Path(program.removeprefix("python ")).parent
    names = "|".join(experiments.EXPERIMENTS)
    return re.sub(rf"\bsparsejax ({names})\b", rf"python {folder}/\1.py", text)


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
