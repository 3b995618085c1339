"""What experiments that are not folders yet take from `_study.config`."""

import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from sparsejax import runs
from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS as COUNTS
from sparsejax.experiments._study.config import POSITIVE as POSITIVE
from sparsejax.experiments._study.config import SEEDS as SEEDS
from sparsejax.experiments._study.config import WHOLE as WHOLE
from sparsejax.experiments._study.config import WIDTHS as WIDTHS
from sparsejax.experiments._study.config import _check_kinds as _check_kinds
from sparsejax.experiments._study.config import check as check
from sparsejax.experiments._study.config import entries as entries
from sparsejax.experiments._study.config import help_texts as help_texts
from sparsejax.experiments._study.config import inside as inside
from sparsejax.experiments._study.config import records as records


def read(
    folder: str | Path,
    kind: Callable[..., Any],
    check: Callable[[Any], None],
    *,
    launcher: str,
    needs: Collection[str],
) -> Any:
    """The config of an earlier run.

    Args:
        folder: the run's.
        kind: the config's class.
        check: what raises a `ValueError` for a config of this class that cannot be.
        launcher: what makes such runs, as "train".
        needs: fields by which they are told from other runs.

    Raises:
        ValueError: if the folder is no such run.
    """
    path = Path(folder) / "config.json"
    if not path.exists():
        raise ValueError(
            f"{folder} is no run folder of launch/{launcher}.py: it has no config.json"
        )
    whole = runs.read_json(path)
    found = whole.get("config") if isinstance(whole, dict) else None
    known = typing.get_type_hints(kind)
    if not isinstance(found, dict) or not set(needs) <= found.keys() <= set(known):
        raise ValueError(f"{folder} is no run of launch/{launcher}.py: see {path}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    try:
        config_._check_kinds(kind, values)
        config = kind(**values)
        check(config)
    except ValueError as error:
        raise runs.DamagedFile(f"{path} cannot be of a run: {error}") from None
    return config
