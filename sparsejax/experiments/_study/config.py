"""Configs: what their fields mean, what they may be, and reading them back.

A config is a frozen dataclass whose docstring explains every field, and whose
`__post_init__` calls `check`, so that there is none that cannot be run:

    CHOICES = {"variant": ("published", "half")}
    WITHIN = {"seeds": SEEDS, "nodes": "[1, 22]"}

    @dataclasses.dataclass(frozen=True)
    class Config:
        \"""Choices of a run.

        Attributes:
            variant: Circle to classify: "published" or "half".
            ...
        \"""

        variant: str = "published"

        def __post_init__(self):
            check(self, WITHIN, CHOICES)

Modules of configs import neither JAX nor what loads it: `--help` needs them alone.
"""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sparsejax import _untrusted, runs
from sparsejax._words import described, listed

# Intervals that many fields share.
SEEDS = "[0, 2^31)"
WHOLE = "[0, 2^31)"  # numbers of things, 0 for none or for all
COUNTS = "[1, 2^31)"
WIDTHS = "[1, 2^16]"
POSITIVE = "(0, inf)"
# Small networks train faster with one thread for each operation.
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
C = TypeVar("C")
_MOST = 100_000  # numbers in a list
_KINDS = {int: int, float: (int, float), str: str, bool: bool}


def help_texts(config: type) -> dict[str, str]:
    """The entries under "Attributes:" in a class's docstring, `{field: text}`."""
    _, _, text = (inspect.getdoc(config) or "").partition("Attributes:")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(entry.split()) for name, entry in entries}


def entries(field: dataclasses.Field, words: Sequence[str]) -> tuple[Any, ...]:
    """The entries of a list, from their words: numbers also as 0:5, for 0 to 4.

    Args:
        field: of the config.
        words: as they stand in a flag.

    Raises:
        ValueError: for words that are none.
    """
    kind = typing.get_args(field.type)[0]
    read = {int: _numbers, float: _decimals}.get(kind)
    return tuple(words) if read is None else read(field.name, words)


def check(
    config: Any,
    within: Mapping[str, str],
    choices: Mapping[str, Sequence[str]],
    *,
    repeated: Collection[str] = ("widths",),
    empty: Collection[str] = (),
) -> None:
    """Raise a `ValueError` for the first field that cannot be.

    Entries of lists must differ, and only lists that are empty by default may be empty.

    Args:
        config: a dataclass instance whose fields all have defaults.
        within: the interval of every field of numbers, or of each of its entries, as
            "[0, 1)", "(0, inf)" or "[1, 2^31)".
        choices: what other fields, or their entries, can be.
        repeated: lists whose entries may be alike.
        empty: other lists that may be empty.
    """
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    _check_kinds(type(config), values)
    for field in dataclasses.fields(config):
        name, value = field.name, values[field.name]
        entries = value if isinstance(value, tuple) else (value,)
        if not entries and field.default and name not in empty:
            raise ValueError(f"{name} must have at least one entry")
        if name not in repeated and len(set(entries)) < len(entries):
            several = ", ".join(map(str, entries))
            raise ValueError(f"{name} must be distinct, got {several}")
        for entry in entries if name in choices else ():
            if entry is not None and entry not in choices[name]:
                known = listed(choices[name], most=len(choices[name]))
                raise ValueError(f"unknown {name} {entry!r}; expected {known}")
        for entry in entries if name in within else ():
            if entry is not None and not inside(entry, within[name]):
                raise ValueError(f"{name} must be in {within[name]}, got {entry}")


def inside(value: float | int, interval: str) -> bool:
    """Whether a number is in an interval; what is not a number is in none.

    Example:
        >>> inside(0, "[0, 1)"), inside(1, "[0, 1)"), inside(float("nan"), "(0, inf)")
        (True, False, False)
    """
    low, high = map(_end, interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    return above and (value <= high if interval[-1] == "]" else value < high)


def read(folder: str | Path, kind: str, config: type[C]) -> C:
    """The config of an earlier run.

    Args:
        folder: the run's.
        kind: name of the experiment.
        config: its class.

    Raises:
        ValueError: if the folder is no such run.
    """
    path = Path(folder) / "config.json"
    if not path.exists():
        raise ValueError(
            f"{folder} is not a {kind} run: it has no config.json; "
            f"`sparsejax {kind}` makes one"
        )
    head = runs.read_json(path)
    there = head.get("kind") if isinstance(head, dict) else None
    values = head.get("config") if isinstance(head, dict) else None
    if there != kind or not isinstance(values, dict):
        raise ValueError(f"{folder} is not a {kind} run: see {path}")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    known = typing.get_type_hints(config)
    if fields.keys() != known.keys():
        differ = listed(sorted(fields.keys() ^ known.keys()))
        text = f"{path} is not of this version: see {differ}"
        raise runs.DamagedFile(_untrusted.one_line(text))
    try:
        return config(**fields)
    except (ValueError, TypeError) as error:
        text = f"{path} cannot be of a run: {error}"
        raise runs.DamagedFile(_untrusted.one_line(text)) from None


def records(folder: str | Path, like: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metrics of an earlier run.

    Args:
        folder: the run's.
        like: the types of what every record must hold.

    Raises:
        runs.DamagedFile: for a record that lacks one, or has another type there.
    """
    found = runs.read_metrics(Path(folder))
    for number, record in enumerate(found):
        for key, kind in like.items():
            if not isinstance(record.get(key), kind):
                text = (
                    f"{Path(folder) / 'metrics.jsonl'}: line {number + 1} says "
                    f"{described(record.get(key))} for {key!r}"
                )
                raise runs.DamagedFile(_untrusted.one_line(text))
    return found


def _check_kinds(kind: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Whether values have the types of their fields."""
    hints = typing.get_type_hints(kind)
    value: Any
    for name, value in values.items():
        several = typing.get_origin(hints[name]) is tuple
        allowed = typing.get_args(hints[name]) or (hints[name],)
        if several and not isinstance(value, tuple):
            raise ValueError(f"{name} must be a tuple, got {described(value)}")
        if value is None and type(None) in allowed:
            continue
        word = allowed[0].__name__
        entries = value if several else (value,)
        for entry in entries or ():
            fits = isinstance(entry, _KINDS[allowed[0]])
            if not fits or (isinstance(entry, bool) and allowed[0] is not bool):
                what = f"entries of {name}" if several else name
                raise ValueError(
                    f"{what} must be of type {word}, got {described(entry)}"
                )


def _numbers(flag: str, words: Sequence[str]) -> tuple[int, ...]:
    """0,1,7 or 0:5 (0 to 4) or a mixture."""
    found: list[int] = []
    for word in words:
        start, colon, stop = word.partition(":")
        try:
            some = range(int(start), int(stop)) if colon else [int(start)]
        except ValueError:
            raise ValueError(
                f"--{flag}: expected integers or ranges such as 0,1,4:8; got {word!r}"
            ) from None
        if not some:
            raise ValueError(f"--{flag}: {word!r} is empty: A:B is A to B - 1")
        if some[-1] - some[0] >= _MOST:
            raise ValueError(f"--{flag}: {word!r} holds more than {_MOST:,} numbers")
        found += some
    return tuple(found)


def _decimals(flag: str, words: Sequence[str]) -> tuple[float, ...]:
    """0.25,0.5,0.75."""
    try:
        return tuple(map(float, words))
    except ValueError:
        raise ValueError(
            f"--{flag}: expected numbers such as 0.25,0.5; got {','.join(words)!r}"
        ) from None


def _end(text: str) -> float:
    base, _, power = text.strip().partition("^")
    return float(base) ** int(power) if power else float(base)
