r"""Circuits of a network by every finder, beside the best there are.

Three transformers of 2 x 6 heads that learn induction here, under three ablations:
    sparsejax circuits

A network by formula whose circuits are known, which takes half a minute:
    sparsejax circuits --network=gates

Units of a lottery run's network, under the mean of each:
    sparsejax circuits --run=results/runs/lottery/NAME --ablations=mean

A closer look at finders that learn masks, three times with other random numbers:
    sparsejax circuits --seeds=0 --ablations=resample --num_repeats=3 \
        --finders=eliminate,hard_concrete,straight_through,ugs

A run leaves a folder with its config, metrics.jsonl (a line for each finder, ablation
and seed), SEED_ABLATION.npz (sets and losses by finder, the losses of all subsets),
costs.jsonl (CPU-seconds), figures, table.md, report.md and index.html, in which
circuits are taken apart by hand. An interrupted run resumes when started again.
"""

import dataclasses

from sparsejax.experiments._study import config as config_
from sparsejax.experiments._study.config import COUNTS, POSITIVE, SEEDS, WHOLE
from sparsejax.experiments._study.shares import Shares

SUBJECT = ("run", "arm", "run_seed", "level")
PLANTED = ("gates", "induction", "brackets", "addition")
LABELS = {
    "exact": "exact",
    "eliminate": "elimination in batches",
    "backward": "greedy, backward",
    "forward": "greedy, forward",
    "beam": "beam, 4 wide",
    "swap": "greedy with swaps",
    "hitting_set": "implicit hitting sets",
    "acdc": "ACDC",
    "noising": "leave one out",
    "denoising": "one alone",
    "attribution": "attribution patching",
    "integrated": "integrated gradients, masks",
    "integrated_inputs": "integrated gradients, inputs",
    "shapley": "Shapley values",
    "hard_concrete": "hard concrete",
    "straight_through": "straight-through",
    "ugs": "uniform gradient sampling",
    "relevance": "relevance",
}
LEARNED = ("hard_concrete", "straight_through", "ugs")
# Found from the losses of all subsets, or from few: nobody has to ask for the others.
OF_TABLE = ("exact", "shapley")
ABLATIONS = {
    "zero": "zero",
    "mean": "the mean",
    "position_mean": "the mean of each position",
    "class_mean": "the mean of each class",
    "resample": "another input's value",
}
CHOICES = {
    "network": ("trained", *PLANTED),
    "ablations": tuple(ABLATIONS),
    "finders": tuple(LABELS),
    "metric": ("kl", "cross_entropy", "binary", "squared", "error"),
}
WITHIN = {
    "seeds": SEEDS,
    "num_repeats": "[1, 100]",
    "num_runs": "[1, 1000]",
    "learning_steps": COUNTS,
    "share": "(0, 1)",
    "max_exact": "[1, 20]",
    "num_units": COUNTS,
    "num_sequences": COUNTS,
    "num_test_images": COUNTS,
    "num_supersets": COUNTS,
    "num_certified": WHOLE,
    "radius": POSITIVE,
    "delta": POSITIVE,
    "layers": "[1, 100]",
    "heads": "[1, 1000]",
    "width": "[1, 2^16]",
    "vocabulary": "[4, 2^16]",
    "steps": COUNTS,
    "learning_rate": POSITIVE,
}
NETWORK = ("network", "layers", "heads", "width", "vocabulary", "steps",
           "learning_rate", "num_sequences")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Choices of a run.

    Attributes:
        network: Network to look at, without --run: "trained" (a transformer that learns
            induction here), or one by formula: "gates" (AND and OR), "induction",
            "brackets" (their depth) or "addition" (modulo 13).
        seeds: Seeds of the networks that are trained here; of any network, seeds of the
            examples, of finders that draw at random and of controls.
        ablations: Values in place of nodes that are left out: "zero", "mean" (of all
            examples), "position_mean" (of each position), "class_mean" (of each class)
            or "resample" (that of another example).
        finders: Finders to compare: "exact" (all subsets), "eliminate" (in batches),
            "backward" and "forward" (greedy), "beam", "swap", "hitting_set" (implicit
            hitting sets), "acdc", "noising" (leave one out), "denoising" (one alone),
            "attribution" (patching), "integrated" (gradients over masks),
            "integrated_inputs" (over inputs; for "resample" alone), "shapley"
            (values), "hard_concrete", "straight_through" and "ugs" (masks that are
            learned) or "relevance" (for "zero" alone); by default all that apply but
            "relevance".
        metric: Loss of a circuit: "kl" (of the whole network's classes from the
            circuit's), "cross_entropy", "binary" (cross entropy of each of several
            labels), "squared" (mean squared error of outputs that are numbers) or
            "error" (share of wrong classes, or largest difference); by default what
            fits the labels.
        share: Share of the loss that all nodes save, compared with none, that a circuit
            may give up; it sets the circuit's target.
        nodes: Names of the activations whose units are nodes, such as hidden_0; by
            default the heads of transformers, else all.
        num_units: Number of units that can be left out, those whose activation varies
            most; the others are always kept. By default all that vary.
        max_exact: Largest number of nodes of which all subsets are evaluated.
        num_sequences: Number of sequences that losses of a transformer are means over.
        num_test_images: Number of test images, drawn once, that losses of a network of
            a lottery run are means over.
        num_runs: Number of runs of every finder that learns masks, over eight penalties
            for a node; the best counts.
        num_repeats: Number of times that these finders are run, each with new seeds.
        learning_steps: Number of steps in which masks are learned.
        num_supersets: Number of random supersets, where not all subsets are known.
        num_certified: Number of test images whose circuits are certified on a box of
            inputs around them, for networks of a lottery run that a flow graph can
            hold.
        radius: Half the side of that box.
        delta: Largest difference from the whole network's outputs in that box.
        layers: Number of blocks of a transformer that is trained here.
        heads: Number of heads in each block.
        width: Number of channels of its residual stream; it has twice as many neurons.
        vocabulary: Number of tokens; sequences are as long.
        steps: Number of training steps, of 64 sequences each.
        learning_rate: Learning rate of Adam at the start.
    """

    network: str = "trained"
    seeds: tuple[int, ...] = (0, 1, 2)
    ablations: tuple[str, ...] = ("zero", "mean", "resample")
    finders: tuple[str, ...] = ()
    metric: str | None = None
    share: float = 0.05
    nodes: tuple[str, ...] = ()
    num_units: int | None = None
    max_exact: int = 16
    num_sequences: int = 32
    num_test_images: int = 200
    num_runs: int = 16
    num_repeats: int = 1
    learning_steps: int = 250
    num_supersets: int = 64
    num_certified: int = 0
    radius: float = 0.03
    delta: float = 1.0
    layers: int = 2
    heads: int = 6
    width: int = 48
    vocabulary: int = 16
    steps: int = 600
    learning_rate: float = 0.003

    def __post_init__(self):
        config_.check(self, WITHIN, CHOICES)
        if self.num_runs % 8:
            raise ValueError(
                f"num_runs must be a multiple of 8, the number of prices, got "
                f"{self.num_runs}"
            )
        if self.vocabulary % 2:
            raise ValueError(
                f"vocabulary must be even: sequences are of that length, the second "
                f"half as the first; got {self.vocabulary}"
            )
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads = {self.heads}, got {self.width}"
            )


def environment(config: Config) -> dict[str, str]:
    """Variables of the process that suit a run, to be set before JAX is used."""
    return config_.ONE_THREAD


def shares(config: Config) -> Shares:
    """How a run is divided: by seeds, each of which has files."""
    return Shares("seeds", config.seeds, ("network_*.npz", "seed_*.npz"))


def memory(config: Config) -> dict[str, float]:
    """Bytes of a transformer with its gradients, and of the losses of all subsets."""
    wide = float(config.width) ** 2
    kernels = config.layers * 8 * wide + 3.0 * config.vocabulary * config.width
    trained = 16 * kernels + 4.0 * 64 * config.heads * config.vocabulary**2
    own = config.network == "trained"
    return {
        "width, layers or vocabulary": trained if own else 0.0,
        "num_runs or num_repeats": 4.0 * config.num_runs * config.num_repeats,
        "max_exact": 8.0 * 2**config.max_exact if config.max_exact > 16 else 0.0,
    }
