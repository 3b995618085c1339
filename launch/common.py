"""What launchers share: flags out of a config's fields, and one line for an error.

A launcher that is interrupted says so in one line, too, whatever it was doing. So this
comes before the imports that take time.
"""

import _thread
import os
import signal
import socket
import sys
import threading
import time

_STATUS: dict[int, int] = {signal.SIGINT: 130, signal.SIGTERM: 143}
_GRACE = 4.0  # seconds to close files in
_stopped: list[int] = []  # the signal, once it has come
_ended: list[bool] = []  # whether `main` has
_advice = ["the same command goes on"]


def _say(number: int) -> None:
    """The line, once, and then nothing of what else an exception may cause."""
    if not _stopped:
        _stopped.append(number)
        start = "\n" if os.isatty(2) else ""  # after ^C, or a bar of progress
        os.write(2, f"{start}interrupted; {_advice[0]}\n".encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _stop(number: int, frame) -> None:
    """In the main thread: an exception, so that what is open is closed."""
    _say(number)
    if _ended:  # no exception would come through
        os._exit(_STATUS[number])
    raise SystemExit(_STATUS[number])


def _watch(signals: socket.socket) -> None:
    """In a thread: an end where the main thread makes none, as in compiled code."""
    number = signals.recv(1)[0]
    while number not in _STATUS:
        number = signals.recv(1)[0]
    time.sleep(0.3)
    _say(number)
    time.sleep(_GRACE / 2)
    _thread.interrupt_main(signal.Signals(number))  # if the exception was lost
    time.sleep(_GRACE / 2)
    os._exit(_STATUS[number])


def _listen() -> None:
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), daemon=True).start()
    for number in _STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _stop)


_listen()

# ruff: noqa: E402
import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, get_args

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


_MOST = 100_000  # numbers in a list


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
        if some[-1] - some[0] >= _MOST:
            raise ValueError(f"--{flag}: {word!r} holds more than {_MOST:,} numbers")
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
    app.run(lambda argv: called(main, argv), flags_parser=parsed)


def parsed(argv: Sequence[str]) -> list[str]:
    """What is left of the command line when the flags are read."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(_line(error))


def called(main: Callable[[Any], None], argv: Sequence[str]) -> None:
    """`main`, and an exit in one line for what is no fault of the program's."""
    logging.set_verbosity(logging.WARNING)
    if flags.FLAGS.force:
        _advice[0] = "the same command without --force goes on"
    try:
        if len(argv) > 1:
            raise ValueError(f"unknown arguments {argv[1:]}; flags begin with --")
        main(flags.FLAGS)
    except BaseException as error:
        if _stopped:  # whatever has become of the exception on its way
            raise SystemExit(_STATUS[_stopped[0]]) from None
        if not _is_expected(error):
            raise
        sys.exit(_line(error))
    finally:
        with contextlib.suppress(OSError):  # where nobody reads it any more
            sys.stdout.flush()
        _ended.append(True)


def _is_expected(error: BaseException) -> bool:
    """Whether it comes of the input or of the machine."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return str(error).startswith("RESOURCE_EXHAUSTED")
    return isinstance(error, ValueError | OSError | MemoryError)


def _line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines())
    return f"error: {text or 'out of memory'}"
