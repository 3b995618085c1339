"""What launchers share: flags out of a config's fields, and one line for an error."""

import interrupts  # isort: split

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
from absl import app, flags, logging

from sparsejax.experiments import fields

Config = TypeVar("Config")

flags.disclaim_key_flags()  # --help shows them as the launcher's own


def define(config: Any, choices: Mapping[str, Sequence[str]]) -> None:
    """A flag for every field of a config, with its default and its help."""
    texts = fields.help_texts(type(config))
    for field in dataclasses.fields(config):
        default, text = getattr(config, field.name), texts[field.name]
        if field.name in choices:
            flags.DEFINE_enum(field.name, default, list(choices[field.name]), text)
        elif field.type in (bool, bool | None):
            flags.DEFINE_bool(field.name, default, text)
        elif isinstance(default, str):
            flags.DEFINE_string(field.name, default, text)
        elif field.type in (float, float | None):
            flags.DEFINE_float(field.name, default, text)
        elif isinstance(default, tuple):
            flags.DEFINE_list(field.name, list(map(str, default)), text)
        else:
            flags.DEFINE_integer(field.name, default, text)


def define_run(
    out: str | None, where: str = "where runs go", data: bool = True
) -> None:
    """The flags of a run: --out, --force, --dry_run and, if `data`, --data_dir."""
    if data:
        flags.DEFINE_string("data_dir", None, "folder of the data set's files")
    flags.DEFINE_string("out", out, where)
    flags.DEFINE_bool("dry_run", False, "print folder and plan, run nothing")
    flags.DEFINE_bool("force", False, "remove an earlier run of this config first")


def read(config: type[Config]) -> Config:
    """The config that these flags describe."""
    found = {}
    for field in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value = getattr(flags.FLAGS, field.name)
        if isinstance(value, list):
            value = fields.entries(field, value)
        found[field.name] = value
    return config(**found)


def run(main: Callable[[Any], None]) -> None:
    """Parse the flags and call `main` with them; bad input ends in one line."""
    app.run(lambda argv: called(main, argv), flags_parser=parsed)


def parsed(argv: Sequence[str]) -> list[str]:
    """What is left of the command line when the flags are read."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise SystemExit(_line(error)) from None


def called(main: Callable[[Any], None], argv: Sequence[str]) -> None:
    """`main`, and an exit in one line for what comes of the input or the machine."""
    logging.set_verbosity(logging.WARNING)
    if flags.FLAGS.force:
        interrupts.advice[0] = "the same command without --force goes on"
    with interrupts.ending():
        try:
            if len(argv) > 1:
                raise ValueError(f"unknown arguments {argv[1:]}; flags begin with --")
            main(flags.FLAGS)
        except (ValueError, OSError, MemoryError) as error:
            raise SystemExit(_line(error)) from None
        except jax.errors.JaxRuntimeError as error:
            if not str(error).startswith("RESOURCE_EXHAUSTED"):
                raise
            raise SystemExit(_line(error)) from None


def _line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines())
    return f"error: {text or 'out of memory'}"
