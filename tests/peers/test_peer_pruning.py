"""PyTorch's pruning as an oracle: it counts right and breaks ties by index."""

from fractions import Fraction

import numpy as np
import pytest

import sparsejax as sj

torch = pytest.importorskip("torch", reason="needs the extra 'peers'")
prune = pytest.importorskip("torch.nn.utils.prune")


@pytest.mark.parametrize("kept", [1, 40, 539, 1343])
def test_global_magnitude_keeps_the_same_weights(kept, rng):
    arrays = {"a": rng.normal(size=(32, 32)), "b": rng.normal(size=(32, 10))}
    params = {k: v.astype(np.float32) for k, v in arrays.items()}
    layers = {k: torch.nn.Linear(*v.shape) for k, v in params.items()}
    for name, layer in layers.items():
        layer.weight.data = torch.from_numpy(params[name].copy())
    prune.global_unstructured(
        [(layer, "weight") for layer in layers.values()],
        pruning_method=prune.L1Unstructured,
        amount=1344 - kept,
    )
    scores = {k: np.abs(v) for k, v in params.items()}
    ones = {k: np.ones_like(v) for k, v in params.items()}
    part = Fraction(1344 - kept, 1344)
    ours = sj.prune.remove(scores, ones, part, scope="global", allow_empty=True)
    for name, layer in layers.items():
        np.testing.assert_array_equal(ours[name], layer.weight_mask.numpy())
