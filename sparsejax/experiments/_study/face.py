"""Faces of experiments: names that load when they are first used."""

import importlib
from collections.abc import Callable
from typing import Any


def face(
    package: str, **modules: tuple[str, ...]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names lie in its modules.

    Args:
        package: its `__name__`.
        **modules: names of the face, by the module that has them.
    """
    where = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{where[name]}"), name)

    return get, lambda: sorted(where)
