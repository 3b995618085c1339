"""One small run of each kind of network, that all tests of this folder read."""

import pytest

from sparsejax.experiments import lottery
from sparsejax.experiments.lottery import Config

SMALL = Config(
    widths=(12, 8), rounds=3, fraction=0.4, epochs=2, seeds=(0, 1), rewind_to=7,
    num_train_images=640, num_test_images=200,
    arms=("rewind", "finetune", "random_global", "random_layerwise", "reinit"),
)  # fmt: skip
TINY = Config(
    dataset="scenes", widths=(2, 2, 2), num_train_images=8, num_test_images=4,
    epochs=2, batch_size=4, rounds=1, rewind_to=1, seeds=(0, 3),
    arms=("rewind", "trained", "finetune", "rewind_weights", "random_global",
          "random_layerwise", "reinit"),
)  # fmt: skip


def quiet(line):
    pass


@pytest.fixture(scope="session")
def mlp():
    """A config that is run in seconds."""
    return SMALL


@pytest.fixture(scope="session")
def resnet():
    """The same of a residual network."""
    return TINY


@pytest.fixture(scope="package")
def small(tmp_path_factory):
    """An MLP's run and its records."""
    folder = tmp_path_factory.mktemp("small") / "run"
    return folder, lottery.run(SMALL, folder, log=quiet)


@pytest.fixture(scope="package")
def tiny(tmp_path_factory):
    """A residual network's run and its records."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    return folder, lottery.run(TINY, folder, log=quiet)
