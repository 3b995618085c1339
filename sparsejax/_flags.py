"""Flags of an experiment, and what `--help` says of them.

They are the fields of the experiment's `Config`, in its order, then what it looks at
(`SUBJECT` of its module of configs), then where the run goes.
"""

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from sparsejax import _processes, experiments
from sparsejax.experiments._study import config as config_

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
SPARSEJAX_DATA_DIR. It holds those that the run uses of MNIST and Fashion-MNIST (IDX
files in mnist/ and fashion_mnist/, as torchvision or Keras leaves them, or mnist.npz),
CIFAR-10 (its binary or Python version, packed or not, or cifar10/train.zip and test.zip
of class folders) and resnet_cifar10/resnet20_cifar10.safetensors; see docs/data.md.
Digits, scenes, circles, spirals and CartPole need no files.""",
    "out": "Parent folder of the run's; by default results/runs/EXPERIMENT or, with "
    "--run, EXPERIMENT inside that run's folder.",
    "shard": "Share of the run's seeds (node_sweep: of its probabilities or sizes), as "
    "0/4 for the first of four, in a run of its own; `sparsejax merge` puts the shares "
    "together.",
    "programs": "Folder of compiled programs, kept for the next start; by default one "
    "of your own, ~/.cache/sparsejax/programs; off for none. Never use "
    "somebody else's: its programs are executed.",
    "dry_run": "Dry run: check the data, print the plan and the folder, and stop.",
    "force": "Fresh start: delete an earlier run of this config first.",
}
_WHOLE = ("run_seed", "level")
_SWITCHES = ("dry_run", "force", "distributed")
_NUMBERS = ("num_processes", "process_id")
Values = flags.FlagValues


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
    lines = [worded(spec.__doc__.strip(), program), "", "Experiment:"]
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
    several = isinstance(default, tuple)
    if several:
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
        text += f" {'Any' if several else 'One'} of {', '.join(choices)}."
    body = textwrap.wrap(text, width - 6, break_on_hyphens=False)
    return [f"  {head}", *(f"      {line}" for line in body)]


def worded(text: str, program: str) -> str:
    """A text whose commands begin as this one was called."""
    if not program.startswith("python "):
        return text
    folder = Path(program.removeprefix("python ")).parent
    names = "|".join(experiments.EXPERIMENTS)
    return re.sub(rf"\bsparsejax ({names})\b", rf"python {folder}/\1.py", text)
