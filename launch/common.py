"""What launchers share: flags out of a config's fields, and one line for an error."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

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
        elif isinstance(default, bool):
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
            value = _KINDS[get_args(field.type)[0]](field.name, value)
        found[field.name] = value
    return config(**found)


def _numbers(flag: str, words: Sequence[str]) -> tuple[int, ...]:
    """0,1,7 or 0:5 (0 to 4) or a mixture."""
    found: list[int] = []
    for word in words:
        start, colon, stop = word.partition(":")
        try:
            some = range(int(start), int(stop)) if colon else [int(start)]
        except ValueError:
            raise ValueError(f"--{flag}: {word!r} is no number nor A:B") from None
        if not some:
            raise ValueError(f"--{flag}: {word!r} holds no number: A:B is A to B - 1")
        found += some
    return tuple(found)


def _decimals(flag: str, words: Sequence[str]) -> tuple[float, ...]:
    """0.25,0.5,0.75."""
    try:
        return tuple(map(float, words))
    except ValueError:
        raise ValueError(f"--{flag}: {','.join(words)!r} are no numbers") from None


_KINDS = {int: _numbers, float: _decimals, str: lambda flag, words: tuple(words)}


def run(main: Callable[[Any], None]) -> None:
    """Parse the flags and call `main` with them; bad input ends in one line."""

    def start(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)
        try:
            if len(argv) > 1:
                raise ValueError(f"unknown arguments {argv[1:]}; flags begin with --")
            main(flags.FLAGS)
        except (ValueError, OSError) as error:
            sys.exit(f"error: {error}")

    app.run(start)
