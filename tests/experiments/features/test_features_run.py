"""Runs that draw units: layers chosen, blocks kept, errors before any work."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from sparsejax import runs
from sparsejax.experiments import features, subjects
from sparsejax.experiments._study.subject import Network, Subject


def fn(params, x):
    h = checkpoint_name(jax.nn.relu(x @ params), "stage_1")
    return h[:2] * 2


@pytest.fixture(scope="module")
def subject():
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(32, 3)), jnp.float32)
    one = Network("rewind", 0, 0, 1.0)
    return Subject(
        title="a toy", fn=fn, params=params, mask=jnp.ones_like(params), shape=(32,),
        domain=(0.0, 1.0), image=(4, 8, 1), load_data=tuple, source={"run": "toy"},
        network=one,
    )  # fmt: skip


@pytest.fixture(scope="module")
def drawn(subject, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features") / "run"
    config = features.Config(steps=3)
    return config, folder, features.run(config, folder, subject)


def test_draws_every_unit(drawn):
    _, folder, records = drawn
    assert [(r["node"], r["unit"]) for r in records] == [
        *(("stage_1", unit) for unit in range(3)),
        *(("logits", unit) for unit in range(2)),
    ]
    arrays = runs.read(folder).arrays("stage_1_0")
    assert arrays["images"].shape == (3, 1, 4, 8, 1)
    assert (folder / "fig_logits.svg").exists()
    assert "a toy" in (folder / "index.html").read_text()
    assert features.summary(folder).startswith("5 units of 2 layers")


def test_goes_on_after_a_kill(subject, drawn):
    config, folder, records = drawn
    before = (folder / "stage_1_0.npz").stat().st_mtime_ns
    (folder / "DONE").unlink()
    (folder / "logits_0.npz").unlink()
    assert features.run(config, folder, subject) == records
    assert (folder / "stage_1_0.npz").stat().st_mtime_ns == before
    lines = []
    assert features.run(config, folder, subject, log=lines.append) == records
    assert "is complete" in lines[-1]


def test_several_pictures_of_chosen_units(subject, tmp_path):
    config = features.Config(
        steps=2, num_pictures=2, nodes=("logits",), units=(1,), image_size=6,
        objective="neuron",
    )  # fmt: skip
    params = subject.params

    def small(_, x):
        return fn(params, x[:32])

    subject = dataclasses.replace(subject, fn=small)
    (record,) = features.run(config, tmp_path, subject)
    assert record["unit"] == 1 and record["best"] >= record["mean"]
    assert runs.read_arrays(tmp_path / "logits_1.npz")["images"].shape[:2] == (1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ("nothing",)}, "no activation 'nothing'; there are 'stage_1'"),
        ({"units": (0, 3), "nodes": ("stage_1",)}, "units 0 to 2, and no 3"),
        ({"steps": 0}, "steps must be in .*"),
        ({"image_size": -1}, "image_size must be in .*"),
        ({"objective": "x"}, "unknown objective"),
        ({"image_size": 5}, r"takes no image of shape \(5, 5, "),
    ],
)
def test_bad_configs_leave_no_folder(subject, tmp_path, change, message):
    for start in (
        features.run,
        lambda config, _, subject: features.plan(config, subject),
    ):
        with pytest.raises(ValueError, match=message):
            start(features.Config(**change), tmp_path / "run", subject)
    assert not (tmp_path / "run").exists()


def test_a_missing_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=f"^{tmp_path}/data/resnet_cifar10/.*missing"):
        subjects.pretrained(data_dir="~/data")
    with pytest.raises(ValueError, match="resnet20_cifar10.safetensors is missing"):
        features.plan(features.Config(), data_dir=tmp_path)
    with pytest.raises(ValueError, match="unknown model 'vgg'"):
        subjects.pretrained("vgg")
