"""Names of run folders, and of files in them."""

import dataclasses
import hashlib
import json
import re
import typing
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote


def name(config: Any, subject: Mapping[str, Any] | None = None) -> str:
    """The folder name of a run: a slug of the non-default fields, and their hash.

    Args:
        config: a dataclass instance whose fields all have defaults.
        subject: what else tells the run from others, such as `{"level": 12}`.

    Returns:
        At most 79 characters.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Config:
        ...     rounds: int = 18
        ...     dataset: str = "digits"
        >>> name(Config()), name(Config(rounds=3)), name(Config(), {"level": 12})
        ('default-44136fa3', 'rounds=3-aa5c2887', 'level=12-a61c54f9')
    """
    changed = {
        field.name: _decimal(getattr(config, field.name), field.type)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != _default(field)
    }
    told = [changed, dict(subject)] if subject else changed
    text = json.dumps(told, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    pairs = [*(subject or {}).items(), *changed.items()]
    slug = "_".join(f"{key}={_short(value)}" for key, value in pairs)
    return f"{slug[:70].rstrip('_=')}-{digest}" if slug else f"default-{digest}"


def _decimal(value: Any, kind: Any) -> Any:
    """A value of a field, 3 as 3.0 where it is of floats: one config has one name."""
    if isinstance(value, tuple):
        kinds = typing.get_args(kind)
        return tuple(_decimal(entry, kinds[0] if kinds else None) for entry in value)
    return float(value) if kind is float and type(value) is int else value


def file_name(text: str) -> str:
    """A name for a file: any text as one, another for every text.

    Example:
        >>> file_name("layer1_0"), file_name("mlp/linear")
        ('layer1_0', 'mlp%2Flinear')
    """
    return quote(text, safe="")


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"[^\w.,:=+-]+", "-", text)
