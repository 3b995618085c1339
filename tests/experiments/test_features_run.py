"""Runs that draw units: layers chosen, blocks kept, errors before any work."""

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import runs
from sparsejax.experiments import features


def fn(params, x):
    h = checkpoint_name(jax.nn.relu(x.reshape(-1) @ params), "stage_1")
    return h[:2] * 2


@pytest.fixture
def network(rng):
    params = jnp.asarray(rng.normal(size=(32, 3)), jnp.float32)
    return features.Subject("a toy", fn, params, (4, 8, 1), (0.0, 1.0))


def test_draws_every_unit_and_goes_on_after_a_kill(network, tmp_path):
    config = features.Config(steps=3)
    records = features.run(config, tmp_path, network)
    assert [(r["node"], r["unit"]) for r in records] == [
        *(("stage_1", unit) for unit in range(3)),
        *(("logits", unit) for unit in range(2)),
    ]
    kept = tmp_path / "stage_1_0.npz"
    assert runs.read_arrays(kept)["images"].shape == (3, 1, 4, 8, 1)
    assert (tmp_path / "fig_logits.svg").exists()
    assert "a toy" in (tmp_path / "index.html").read_text()
    before = kept.stat().st_mtime_ns
    (tmp_path / "DONE").unlink()
    (tmp_path / "logits_0.npz").unlink()
    assert features.run(config, tmp_path, network) == records
    assert kept.stat().st_mtime_ns == before
    assert features.summary(tmp_path).startswith("5 units of 2 layers")


def test_several_pictures_of_chosen_units(network, tmp_path):
    config = features.Config(
        steps=2, count=2, nodes=("logits",), units=(1,), size=6, objective="neuron"
    )
    network = network._replace(fn=lambda p, x: fn(p[:, :3], x.reshape(-1)[:32]))
    (record,) = features.run(config, tmp_path, network)
    assert record["unit"] == 1 and record["best"] >= record["mean"]
    assert runs.read_arrays(tmp_path / "logits_1.npz")["images"].shape[:2] == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ("nothing",)}, "no activation 'nothing'; there are 'stage_1'"),
        ({"units": (0, 3), "nodes": ("stage_1",)}, "units 0 to 2, and no 3"),
        ({"steps": 0}, "steps must be in .*"),
        ({"size": -1}, "size must be in .*"),
        ({"learning_rate": 0.0}, "learning_rate must be in .*"),
        ({"objective": "x"}, "unknown objective"),
        ({"run": "a", "checkpoint": "b"}, "give it or run, not both"),
        ({"size": 5}, r"takes no image of shape \(5, 5, "),
    ],
)
def test_bad_configs_leave_no_folder(network, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        features.run(features.Config(**change), tmp_path / "run", network)
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match="resnet20_cifar10.safetensors is missing"):
        features.subject(features.Config(), data_dir=tmp_path)
