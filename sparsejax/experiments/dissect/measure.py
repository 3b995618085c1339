"""Networks of a lottery run, dissected one by one, and what is told of each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from sparsejax import data, dissect, lift, trees
from sparsejax.experiments import lottery
from sparsejax.experiments._study import nodes
from sparsejax.experiments._study.subject import Network, Subject, required
from sparsejax.experiments.dissect.config import Config

UNTRAINED = "untrained"


class Dissector:
    """The networks of a run, an untrained one for each seed, and labelled images.

    Raises:
        ValueError: where there is no run, and where none of its activations has places.
    """

    def __init__(self, config: Config, subject: Subject | None):
        subject = required(
            None if subject is None or subject.run is None else subject,
            "lottery --dataset=scenes",
        )
        assert subject.run is not None
        self.config, self.subject = config, subject
        self.lottery = lottery.read(subject.run)
        self.node = _with_places(subject, config.node)
        self.networks: list[Network] = []
        for network in subject.networks:
            self.networks.append(network)
            if network.arm == "rewind" and not network.level:
                self.networks.append(
                    network._replace(arm=UNTRAINED, test_accuracy=None)
                )
        self.labels, self.batches = self._images()

    def params(self, network: Network) -> PyTree:
        """Parameters of a trained network, or of one before training."""
        if network.arm == UNTRAINED:
            shape = self.subject.shape
            return lottery.untrained(self.lottery, shape, network.seed)[0]
        return self.subject.read(network)[0]

    def scores(self, network: Network) -> dict[str, np.ndarray]:
        """Scores of units, and of directions of rotations of them."""
        params, units, scores = self.params(network), None, {}
        for i in range(1 + self.config.rotations):
            key = jax.random.fold_in(jax.random.key(1), i)
            turn = None if units is None else dissect.rotation(key, units)
            dissection = self._dissect(params, turn)
            units = len(dissection.thresholds)
            name, union = f"rotated_{i}" if i else "scores", self.config.union
            scores[f"{name}/unit"] = dissection.scores(union)
            scores[f"{name}/normalized"] = dissection.scores(union, normalized=True)
        return scores

    def exemplars(
        self, network: Network, units: int = 12, images: int = 6
    ) -> dict[str, Any]:
        """The best units of a network: where they are active in their top images."""
        params = self.params(network)
        dissection = self._dissect(params, None)
        table = dissection.table(self.config.union)
        best = np.argsort(-table.score)[:units]
        x = np.concatenate([batch[0] for batch in self.batches])
        shown = []
        for unit in best:
            top = dissection.exemplars[unit][:images]
            acts = _activations(self.subject.fn, self.node, params, x[top])
            active = [
                dissect.upsample(a, x.shape[1:3])[..., unit]
                > dissection.thresholds[unit]
                for a in acts
            ]
            shown.append(np.where(np.stack(active)[..., None], x[top], 0.2 * x[top]))
        return {"table": table, "units": best, "images": shown}

    def table(self, scores: np.ndarray) -> dissect.Table:
        """The concept that each unit fits best."""
        return dissect.assign(scores, self.labels)

    def record(self, network: Network, scores, table, dense) -> dict[str, Any]:
        """What is told of one network, beside the dense one of its seed."""
        config = self.config
        both = dissect.consistency(dense, table, threshold=config.threshold)
        record = network._asdict()
        turned = range(1, 1 + config.rotations)
        for kind, at in (
            ("unit", config.threshold), ("normalized", config.normalized_threshold),
        ):  # fmt: skip
            end = "" if kind == "unit" else "_normalized"
            units, concepts = self._counts(scores[f"scores/{kind}"], at)
            rotated = [self._counts(scores[f"rotated_{i}/{kind}"], at) for i in turned]
            mean = np.mean(rotated, 0).tolist() if rotated else [None, None]
            record |= {f"units{end}": units, f"concepts{end}": concepts}
            record |= {f"rotated{end}": mean[0], f"rotated_concepts{end}": mean[1]}
        categories = table.by_category(config.threshold)
        return record | {
            "of": len(table.label),
            "categories": {k: list(v) for k, v in categories.items()},
            "still_detector": both.still_detector,
            "same_label": both.same_label,
            "still_detector_by_chance": both.still_detector_by_chance,
            "same_label_by_chance": both.same_label_by_chance,
            "jaccard": both.jaccard,
            "survival": both.survival,
        }

    def _counts(self, scores: np.ndarray, threshold: float) -> tuple[int, int]:
        """Numbers of detectors and of their concepts."""
        table = self.table(scores)
        detectors = int(table.detectors(threshold).sum())
        return detectors, len(table.concepts(threshold))

    def _dissect(self, params: PyTree, rotation) -> dissect.Dissection:
        return dissect.dissect(
            self.subject.fn, params, self.node, self.batches, self.labels,
            quantile=self.config.quantile, rotation=rotation, progress=False,
        )  # fmt: skip

    def _images(self):
        """Labels, and batches of images with them."""
        assert self.subject.image is not None
        height, width, channels = self.subject.image
        if self.config.broden:
            if channels != 3:
                raise ValueError(
                    f"{self.subject.title}: it takes {channels} channels, and Broden's "
                    "images are in color; leave broden out"
                )
            broden = data.broden(
                self.config.broden, size=self.config.image_size or None
            )
            return broden.labels, broden
        if height != width or height < 16 or height % 4:
            raise ValueError(
                f"{self.subject.title}: its images are of {height}x{width} pixels, and "
                "scenes are drawn as squares of 16, 20, 24, ...; pass broden, a folder "
                "of labeled images"
            )
        first = self.lottery.config.num_test_images or lottery.NUM_SCENES["test"]
        scenes = data.scenes(
            jax.random.key(lottery.SCENES),
            self.config.num_scenes,
            size=height,
            first=first,
        )
        batch = scenes.labeled
        if channels == 1:
            batch = batch._replace(images=batch.images.mean(-1, keepdims=True))
        return scenes.labels, [batch]


def _with_places(subject: Subject, node: str) -> str:
    """The activation to dissect, by default the last that is a picture itself."""
    shapes = nodes.shapes(subject.fn, subject.params, subject.shape)
    there = [name for name, shape in shapes.items() if len(shape) == 3]
    if not there:
        raise ValueError(
            f"{subject.title}: none of its activations ({', '.join(shapes)}) is a "
            "feature map; dissect a convnet or a residual network"
        )
    if node and node not in there:
        raise ValueError(
            f"{subject.title}: no feature map {node!r}; expected one of "
            f"{trees.listed(there, 24)}"
        )
    return node or there[-1]


def _activations(fn, node: str, params, x) -> np.ndarray:
    return np.asarray(lift.activations(fn, [node])(params, jnp.asarray(x))[1][node])
