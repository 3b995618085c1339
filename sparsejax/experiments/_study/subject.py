"""What an experiment looks at: a network, the run that it is of, and its data."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax import runs, trees

USUAL = "model", "resnet20"  # what is looked at where nothing is named


class Network(NamedTuple):
    """One network of a run.

    Attributes:
        arm: how it was made, as "rewind".
        level: number of prunings before.
        seed: of its initial weights.
        density: share of the prunable weights that it keeps.
        test_accuracy: over the test set, if known.
    """

    arm: str
    level: int
    seed: int
    density: float
    test_accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network, and the others of its run.

    Attributes:
        title: what it is, in a few words.
        fn: `fn(params, x) -> logits` of one input x (shape), with named activations.
        params: its parameters, removed weights zero.
        mask: a tree like `Masks.weights`.
        shape: of one input.
        domain: lowest and highest value of an input.
        image: (height, width, channels) of an input that is a picture.
        load_data: a function that gives test inputs (n, *shape) and labels (n,).
        source: JSON-like, what tells it from others, as `{"run": "NAME", "level": 12,
            "parameters": digest(params)}`; the same wherever the files lie.
        network: which one of its run it is.
        networks: all of the run in the order of its records, dense ones at level 0 of
            arm "rewind" alone; by default itself.
        read: `read(network) -> (params, mask)` of any of these.
        run: folder of its run, if it has one.
        load_train_data: as `load_data`, of what it was trained on, if that is known.
    """

    title: str
    fn: Callable[[PyTree, Array], Array]
    params: PyTree
    mask: PyTree
    shape: tuple[int, ...]
    domain: tuple[float, float]
    image: tuple[int, ...] | None
    load_data: Callable[[], tuple[np.ndarray, np.ndarray]]
    source: dict[str, Any]
    network: Network
    networks: tuple[Network, ...] = ()
    read: Callable[[Network], tuple[PyTree, PyTree]] | Any = None
    load_train_data: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    run: Path | None = None

    def __post_init__(self):
        if not self.networks:
            object.__setattr__(self, "networks", (self.network,))
        if self.read is None:
            object.__setattr__(self, "read", lambda network: (self.params, self.mask))

    @functools.cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Test inputs and labels, loaded when first asked for."""
        return self.load_data()

    @property
    def x(self) -> Float[np.ndarray, "n ..."]:
        """Test inputs, shape (n, *shape)."""
        return self.data[0]

    @property
    def y(self) -> np.ndarray:
        """Labels of the test inputs, shape (n,)."""
        return self.data[1]

    @functools.cached_property
    def train_data(self) -> tuple[np.ndarray, np.ndarray]:
        """Training inputs and labels, loaded when first asked for.

        Raises:
            ValueError: if they are not known.
        """
        if self.load_train_data is None:
            raise ValueError(f"{self.title} comes without its training data")
        return self.load_train_data()

    def bound(self) -> Callable[[Array], Array]:
        """The network as a function of one input."""
        return functools.partial(self.fn, self.params)

    def level(self, level: int) -> "Subject":
        """The network of the same arm and seed at another level.

        Raises:
            ValueError: if its run has no such level.
        """
        arms = (self.network.arm, "rewind") if not level else (self.network.arm,)
        mine = [n for n in self.networks if n.seed == self.network.seed
                and n.arm in arms]  # fmt: skip
        at = [n for n in mine if n.level == level]
        if not at:
            there = ", ".join(str(n.level) for n in mine) or "none"
            raise ValueError(f"{self.title}: no level {level}; there are {there}")
        params, mask = self.read(at[-1])
        title = self.title.replace(f"level {self.network.level}", f"level {level}")
        return dataclasses.replace(
            self,
            title=title,
            params=params,
            mask=mask,
            source={**self.source, "level": level, "parameters": digest(params)},
            network=at[-1],
        )


def required(subject: Subject | None, example: str = "lottery") -> Subject:
    """A network of a run, where an experiment cannot do without.

    Args:
        subject: what was given.
        example: what makes such a run, as "lottery --dataset=scenes".

    Raises:
        ValueError: if there is none.
    """
    if subject is None:
        raise ValueError(
            "--run is required (in Python, subject=): the folder of a lottery run; "
            f"`sparsejax {example}` makes one"
        )
    return subject


def digest(tree: PyTree) -> str:
    """A short name of the arrays of a tree, another for any others.

    Example:
        >>> digest({"w": np.zeros(2)}) == digest({"w": np.zeros(2)}) != digest({})
        True
    """
    total = hashlib.sha256()
    for path, array in sorted(trees.to_arrays(tree).items()):
        total.update(f"{path} {array.dtype} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:12]


def folder(name: str, config: Any, subject: Subject | None, out: str | None) -> Path:
    """Where a run goes: below `out`, else in the run that is looked at.

    Args:
        name: of the experiment.
        config: its config.
        subject: what is looked at.
        out: a folder of runs, by default results/runs/NAME.
    """
    source = {} if subject is None else dict(subject.source)
    source.pop("parameters", None)
    if (USUAL[0], source.get(USUAL[0])) == USUAL:
        del source[USUAL[0]]
    root = Path(out or f"results/runs/{name}")
    if out is None and subject is not None and subject.run is not None:
        root = subject.run / name
        del source["run"]
    return root / runs.name(config, source)
