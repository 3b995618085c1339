"""Circuits of a network by every finder, beside the best there are.

For any function of named activations: the loss of all subsets of its heads or units,
what finders find, how far that is from the optimum of the same size, every minimal
circuit, its loss among supersets, and controls that cannot have one.

    one = sj.experiments.circuits.case(fn, params, x, y)
    sj.experiments.circuits.run(sj.experiments.circuits.Config(), "folder", one)
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.circuits._run import plan as plan
    from sparsejax.experiments.circuits._run import run as run
    from sparsejax.experiments.circuits._run import summary as summary
    from sparsejax.experiments.circuits.cases import Case as Case
    from sparsejax.experiments.circuits.cases import case as case
    from sparsejax.experiments.circuits.config import Config as Config

__getattr__, __dir__ = face(
    __name__,
    config=("Config",),
    _run=("plan", "run", "summary"),
    cases=("Case", "case"),
)
