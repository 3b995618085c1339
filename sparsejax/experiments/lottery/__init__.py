"""Lottery tickets: any network trained, pruned, rewound and trained again.

`run(Config(...), folder)` leaves a folder that `read` reads:

    run = lottery.read(folder)
    params, mask = lottery.network(run, arm="rewind", level=12, seed=3)
    model, task = lottery.model(run), lottery.task(run.config, data_dir)
"""

import importlib
from typing import TYPE_CHECKING, Any

from sparsejax.experiments.lottery.config import ARMS as ARMS
from sparsejax.experiments.lottery.config import CHOICES as CHOICES
from sparsejax.experiments.lottery.config import CONTROLS as CONTROLS
from sparsejax.experiments.lottery.config import DISSECTED as DISSECTED
from sparsejax.experiments.lottery.config import SCENES as SCENES
from sparsejax.experiments.lottery.config import SEQUENCES as SEQUENCES
from sparsejax.experiments.lottery.config import WITHIN as WITHIN
from sparsejax.experiments.lottery.config import Config as Config
from sparsejax.experiments.lottery.config import resolve as resolve

if TYPE_CHECKING:
    from sparsejax.experiments.lottery._run import plan as plan
    from sparsejax.experiments.lottery._run import run as run
    from sparsejax.experiments.lottery._run import summary as summary
    from sparsejax.experiments.lottery.figures import LABELS as LABELS
    from sparsejax.experiments.lottery.pruning import Rounds as Rounds
    from sparsejax.experiments.lottery.pruning import rounds as rounds
    from sparsejax.experiments.lottery.reading import Run as Run
    from sparsejax.experiments.lottery.reading import model as model
    from sparsejax.experiments.lottery.reading import network as network
    from sparsejax.experiments.lottery.reading import read as read
    from sparsejax.experiments.lottery.reading import read_config as read_config
    from sparsejax.experiments.lottery.reading import untrained as untrained
    from sparsejax.experiments.lottery.tasks import Task as Task
    from sparsejax.experiments.lottery.tasks import task as task

# JAX is loaded with what is in these modules: `--help` needs the config alone.
_LAZY = {
    "_run": ("plan", "run", "summary"),
    "pruning": ("Rounds", "rounds"),
    "reading": ("Run", "model", "network", "read", "read_config", "untrained"),
    "figures": ("LABELS",),
    "tasks": ("Task", "task"),
}
_HOME = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        module = importlib.import_module(f"{__name__}.{_HOME[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    here = [name for name in globals() if not name.startswith("_")]
    return sorted({*here, *_HOME} - {"importlib", "Any", "TYPE_CHECKING"})
