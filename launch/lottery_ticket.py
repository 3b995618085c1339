"""Lottery tickets on images: train, prune, rewind and retrain, with controls.

Digits (embedded, half a minute):
    python launch/lottery_ticket.py

MNIST at 2% of its weights, five seeds:
    python launch/lottery_ticket.py --dataset=mnist --data_dir=DIR --final_count=539

The first layer left alone:
    python launch/lottery_ticket.py --dataset=mnist --data_dir=DIR --exclude=dense_0

Every run leaves a folder below --out: config, metrics.jsonl, masks and weights of every
level, figures and index.html. Started again after a kill, it goes on where it was.
"""

import dataclasses
import functools
import os
import sys
from pathlib import Path

# Networks this small train faster with one thread for each operation.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from absl import app, flags, logging

from sparsejax import runs
from sparsejax.experiments import lottery_config, lottery_ticket

_DEFAULT = lottery_config.Config()
_HELP = lottery_config.help_texts()


def _define() -> None:
    for field in dataclasses.fields(_DEFAULT):
        default, text = getattr(_DEFAULT, field.name), _HELP[field.name]
        if field.name in lottery_config.CHOICES:
            choices = lottery_config.CHOICES[field.name]
            flags.DEFINE_enum(field.name, default, choices, text)
        elif isinstance(default, bool):
            flags.DEFINE_bool(field.name, default, text)
        elif field.type in (float, float | None):
            flags.DEFINE_float(field.name, default, text)
        elif isinstance(default, tuple):
            flags.DEFINE_list(field.name, list(map(str, default)), text)
        else:
            flags.DEFINE_integer(field.name, default, text)
    flags.DEFINE_string("data_dir", None, "folder of the data set's files")
    flags.DEFINE_string("out", "results/runs/lottery_ticket", "where runs go")
    flags.DEFINE_bool("dry_run", False, "print folder and plan, run nothing")
    flags.DEFINE_bool("force", False, "remove an earlier run of this config first")


def _config(values) -> lottery_config.Config:
    fields = {f.name: getattr(values, f.name) for f in dataclasses.fields(_DEFAULT)}
    fields["seeds"] = _numbers("seeds", fields["seeds"])
    fields["widths"] = _numbers("widths", fields["widths"])
    for name in ("layer_fractions", "exclude", "controls"):
        fields[name] = tuple(word for word in fields[name] if word)
    return lottery_config.Config(**fields)


def _numbers(flag: str, words: list[str]) -> tuple[int, ...]:
    """0,1,7 or 0:5 (0 to 4) or a mixture."""
    numbers: list[int] = []
    for word in words:
        start, colon, stop = word.partition(":")
        try:
            numbers += range(int(start), int(stop)) if colon else [int(start)]
        except ValueError:
            raise ValueError(f"--{flag}: {word!r} is no number nor A:B") from None
    return tuple(numbers)


def main(argv: list[str]) -> None:
    values, report = flags.FLAGS, functools.partial(print, flush=True)
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) > 1:
            raise ValueError(f"unknown arguments {argv[1:]}; flags begin with --")
        config = _config(values)
        rounds = lottery_ticket.plan(config)
        folder = Path(values.out) / runs.name(config)
        print(f"{len(rounds.counts)} levels, weights kept: {rounds.counts}")
        print(f"folder: {folder}")
        if values.dry_run:
            return
        options = dict(data_dir=values.data_dir, force=values.force, report=report)
        lottery_ticket.run(config, folder, **options)
        print(lottery_ticket.summary(folder))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    _define()
    app.run(main)
