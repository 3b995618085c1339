"""Every number of the five source documents that can be made: published, and ours.

In less than ten minutes on two cores, with the data in DIR:
    sparsejax reproduce --quick --data_dir=DIR

With as many networks and epochs as in results/, hours:
    sparsejax reproduce --data_dir=DIR

What needs no data, or a single part with what it looks at:
    sparsejax reproduce --quick --parts=rules,circle,circle_half,orders

A run leaves a folder with reproductions.md, reproductions.json, index.html and a folder
for each part, a run of its own with its figures and page. Where data are missing the
rows say so; the same command with the data goes on. An interrupted run resumes when
started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments.reproduce.parts import PARTS

SUBJECT = ()
CHOICES = {"parts": tuple(PARTS)}
WITHIN: dict[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        quick: Quick form: fewer networks, shorter trainings, no controls.
        parts: Parts to run, with the parts that they need; by default all.
    """

    quick: bool = False
    parts: tuple[str, ...] = ()

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
