"""What is run for the tables: experiments with their configs, and a few measures.

A part is a run of an experiment in a folder of its own below the reproduction's, or a
measure that no experiment has. The quick form changes a few fields of the full one.
Nothing here loads JAX: `--help` names the parts.
"""

from typing import Any, NamedTuple

MNIST = "mnist"
HERE = ("graphs", "rules", "factors")  # measured by this experiment itself


class Part(NamedTuple):
    """One run, or one measure.

    Attributes:
        experiment: its name; or of `HERE`.
        full: fields of its config.
        quick: fields that the quick form has in their place.
        of: the part whose lottery run it looks at.
        seed: of the network there; by default the first.
        level: of the network there; by default the last.
        data: whether it needs files that do not come with the package.
        cost: seconds of CPU time of the quick form, to tell the time that is left.
    """

    experiment: str
    full: dict[str, Any] = {}
    quick: dict[str, Any] = {}
    of: str | None = None
    seed: int | None = None
    level: int | None = None
    data: bool = False
    cost: float = 30.0

    def fields(self, quick: bool) -> dict[str, Any]:
        """Fields of the config."""
        return {**self.full, **self.quick} if quick else dict(self.full)


_ALONE = {"arms": ("rewind",), "barrier": False}
_BLAME = {"methods": ("blame_the_bias",)}
# The published counts of 6, 23, 23 and 135 weights, in six rounds.
_CONVNET = ("conv_0=0.29", "conv_1=0.354", "conv_2=0.354", "dense_0=0.5913")

# In the order they are run; what another looks at comes before it.
PARTS = {
    "rules": Part("rules", cost=6),
    "circle": Part("circle_removal", {}, {"seeds": (0, 1, 2, 3, 4)}, cost=55),
    "circle_half": Part(
        "circle_removal", {"variant": "half"}, {"seeds": (0, 1, 2, 3, 4)}, cost=55,
    ),
    "orders": Part(
        "prune_order", {}, {"seeds": (0, 1, 2, 3, 4), "num_frames": 0}, cost=36,
    ),
    "right_reasons": Part(
        "right_reasons", {},
        {"losses": ("none", "oracle", "squared", "share"), "strengths": (1.0,)},
        cost=16,
    ),
    "cartpole": Part(
        "cartpole", {"environment": "CartPole-v0"},
        {"seeds": tuple(range(8)), "rounds": 0}, cost=67,
    ),
    "tickets": Part(
        "lottery", {"dataset": MNIST, "final_count": 539}, _ALONE, data=True, cost=37,
    ),
    "tickets_graphs": Part("graphs", of="tickets", data=True, cost=2),
    "by_layer": Part(
        "lottery",
        {"dataset": MNIST, "scope": "layer", "optimizer": "adam",
         "learning_rate": 0.001, "schedule": "constant", **_ALONE},
        data=True, cost=44,
    ),
    "first_layer": Part(
        "lottery",
        {"dataset": MNIST, "exclude": ("dense_0",), "final_count": 40, **_ALONE},
        data=True, cost=41,
    ),
    "first_layer_graphs": Part("graphs", of="first_layer", data=True, cost=2),
    "convnet": Part(
        "lottery",
        {"dataset": MNIST, "model": "convnet", "rounds": 6, "epochs": 2,
         "layer_fractions": _CONVNET, "seeds": (0, 1, 2), **_ALONE},
        {"epochs": 1, "num_train_images": 20_000, "seeds": (0,)},
        data=True, cost=75,
    ),
    "convnet_graphs": Part("graphs", of="convnet", data=True, cost=10),
    **{
        f"relevance_{seed}_{name}": Part(
            "relevance", _BLAME, of="tickets", seed=seed, level=level, data=True,
            cost=8,
        )
        for seed in (0, 1) for name, level in (("dense", 0), ("pruned", None))
    },
    "scenes": Part(
        "lottery",
        {"dataset": "scenes", "seeds": (0, 1, 2), "epochs": 8,
         "arms": ("rewind", "finetune", "random_layerwise")},
        # As `lottery` has them: one seed, six epochs, tickets alone.
        {"seeds": (), "epochs": None, "rounds": 7, "arms": ()}, cost=98,
    ),
    "dissect": Part("dissect", of="scenes", cost=25),
    "weights": Part(
        "weights", {"nodes": ("layer3_0",), "units": tuple(range(8))},
        {"units": (0, 1), "steps": 16, "places": 1}, of="scenes", cost=85,
    ),
    "factors": Part("factors", data=True, cost=40),
    "spade": Part(
        "spade", {},
        {"seeds": (0,), "num_train_images": 4000, "epochs": 2, "num_pictures": 1,
         "num_test_images": 8, "num_calibration_images": 5, "densities": (0.5, 0.2),
         "picture_steps": 64, "num_planes": 3},
        data=True, cost=200,
    ),
}  # fmt: skip


def wanted(names: tuple[str, ...]) -> dict[str, Part]:
    """Parts of these names, and those that they look at; all where none is named."""
    names = names or tuple(PARTS)
    needed = {*names, *(PARTS[name].of for name in names)}
    return {name: part for name, part in PARTS.items() if name in needed}
