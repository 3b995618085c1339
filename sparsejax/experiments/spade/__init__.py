"""Does pruning for a sample make explanations better? Planted patches tell.

A network is trained on images (CIFAR-10, MNIST) of which a share has a patch that means
a class. On new images with patches it is pruned for each one (SPADE), and saliency maps
of what is left are compared with the place of the patch; so are those of the dense
network, and of networks pruned as much without looking at the sample. How much of each
stage is pruned is chosen on other images.
"""

from typing import TYPE_CHECKING

from sparsejax.experiments._study.face import face

if TYPE_CHECKING:
    from sparsejax.experiments.spade._run import plan as plan
    from sparsejax.experiments.spade._run import run as run
    from sparsejax.experiments.spade._run import summary as summary
    from sparsejax.experiments.spade.config import Config as Config
    from sparsejax.experiments.spade.toy import inside as inside

__getattr__, __dir__ = face(
    __name__,
    config=("Config",),
    _run=("plan", "run", "summary"),
    toy=("inside",),
)
