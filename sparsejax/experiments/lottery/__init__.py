"""Lottery tickets: any network trained, pruned, rewound and trained again.

`run(Config(...), folder)` leaves a folder that `read` reads:

    run = lottery.read(folder)
    params, mask = lottery.network(run, arm="rewind", level=12, seed=3)
    model, task = lottery.model(run), lottery.task(run.config, data_dir)
    subject = lottery.subject(folder, level=12, seed=3, data_dir=data_dir)
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.lottery._run import plan as plan
    from sparsejax.experiments.lottery._run import run as run
    from sparsejax.experiments.lottery._run import summary as summary
    from sparsejax.experiments.lottery.config import ARMS as ARMS
    from sparsejax.experiments.lottery.config import DISSECTED as DISSECTED
    from sparsejax.experiments.lottery.config import NUM_SCENES as NUM_SCENES
    from sparsejax.experiments.lottery.config import SCENES as SCENES
    from sparsejax.experiments.lottery.config import Config as Config
    from sparsejax.experiments.lottery.config import resolve as resolve
    from sparsejax.experiments.lottery.figures import LABELS as LABELS
    from sparsejax.experiments.lottery.looking import subject as subject
    from sparsejax.experiments.lottery.reading import Run as Run
    from sparsejax.experiments.lottery.reading import model as model
    from sparsejax.experiments.lottery.reading import network as network
    from sparsejax.experiments.lottery.reading import read as read
    from sparsejax.experiments.lottery.reading import untrained as untrained
    from sparsejax.experiments.lottery.tasks import Task as Task
    from sparsejax.experiments.lottery.tasks import task as task

__getattr__, __dir__ = face(
    __name__,
    config=("ARMS", "DISSECTED", "NUM_SCENES", "SCENES", "Config", "resolve"),
    _run=("plan", "run", "summary"),
    figures=("LABELS",),
    looking=("subject",),
    reading=(
        "Run", "model", "network", "read", "untrained",
    ),
    tasks=("Task", "task"),
)  # fmt: skip
