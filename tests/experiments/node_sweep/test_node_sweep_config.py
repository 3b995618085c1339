"""What a sweep will do, what it refuses, and what it says in a sentence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.experiments import node_sweep
from sparsejax.experiments.node_sweep import report, sweeps
from sparsejax.experiments.node_sweep.config import Config


def quiet(line):
    pass


def test_fixed_sizes_are_exact_on_the_circle_too():
    config = Config(
        dataset="circle",
        widths=(10,),
        distribution="fixed_size",
        subset_sizes=(3.0, 0.75),
    )  # fmt: skip
    assert "layers hidden_0 (10)\n3 of 10: 2,000 masks" in node_sweep.plan(config)
    planned = sweeps.sweeps(config, 10)
    labels = [(which.name, which.label) for which in planned]
    assert labels == [("size_3", "3 of 10"), ("size_8", "8 of 10")]
    for which in planned:
        masks = jax.vmap(sweeps.generator(config, which, 10))(jnp.arange(20))
        assert (masks.sum(axis=1) == which.value).all()
        assert len(np.unique(masks, axis=0)) > 5


def test_a_keep_prob_of_one_is_all_units_and_a_size_of_one_is_one():
    config = Config(distribution="fixed_size", keep_probs=(0.5, 1.0))
    assert [w.label for w in sweeps.sweeps(config, 10)] == ["5 of 10", "10 of 10"]
    config = dataclasses.replace(config, subset_sizes=(1.0,))
    assert [w.label for w in sweeps.sweeps(config, 10)] == ["1 of 10"]


def test_close_keep_probs_have_files_and_labels_of_their_own():
    config = Config(keep_probs=(0.1, 0.10000001, 1.0))
    planned = sweeps.sweeps(config, 10)
    assert [w.name for w in planned] == ["keep_0.1", "keep_0.10000001", "keep_1"]
    assert [w.label for w in planned] == ["keep 0.1", "keep 0.10000001", "keep 1"]


def test_the_plan_says_how_many_units_stay_on():
    config = Config(widths=(6, 4), num_units=3)
    plan = node_sweep.plan(config).splitlines()
    assert plan[0] == (
        "3 of 10 units switched, 7 always on; layers hidden_0 (6), hidden_1 (4)"
    )
    assert plan[1] == "keep 0.25: 2,000 masks"
    text = sweeps.switched
    assert text(3, 10) == "3 of 10 units switched, 7 always on"
    assert text(10, 10) == "all 10 units switched"
    assert text(1, 1) == "1 unit switched"


def record(label, kept, accuracy, units=8, total=64, **more):
    loss = {"quantiles": {"0.5": 2 * accuracy}}
    return {
        "distribution": label, "kept": kept, "accuracy": {"mean": accuracy},
        "units": units, "total": total, "full": {"accuracy": 0.96}, "loss": loss,
    } | more  # fmt: skip


def test_the_lead_names_distributions_and_what_stays_on():
    records = [record("keep 0.25", 2, 0.183), record("keep 0.9", 7, 0.9)]
    assert report.finding(records) == (
        "96.0% right with all 64 units (8 of 64 units switched, 56 always on); on "
        "average keep 0.9: 90.0%, keep 0.25: 18.3%"
    )
    many = [record(f"keep 0.{i}", i, i / 10, 8, 8) for i in range(1, 8)]
    assert report.finding(many) == (
        "96.0% right with all 8 units; on average keep 0.7: 70.0%, keep 0.1: 10.0% "
        "(5 more in between)"
    )
    one = report.finding([record("keep 1", 1, 0.96, 1, 1)])
    assert one == "96.0% right with the only unit; on average keep 1: 96.0%"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dataset": "cats"}, "unknown dataset 'cats'; expected 'digits', 'mnist'"),
        ({"distribution": "all"}, "unknown distribution 'all'"),
        ({"nodes": ("conv_9",)}, "no activations 'conv_9'; there are 'hidden_0', 'hi"),
        ({"keep_probs": (0.5, 1.5)}, r"keep_probs must be in \[0, 1\], got 1.5"),
        ({"keep_probs": ()}, "keep_probs must have at least one entry"),
        ({"keep_probs": (0.5, 0.5)}, "keep_probs must be distinct"),
        ({"num_masks": 0}, "num_masks must be in .*, got 0"),
        ({"num_units": 11}, r"num_units must be in \[1, 10\], got 11"),
        (
            {"distribution": "subsets", "widths": (32, 32)},
            r"2\^64 subsets are too many \(64 units; at most 20\).*num_units=20",
        ),
        (
            {"distribution": "fixed_size", "subset_sizes": (11.0,)},
            r"whole numbers in \[0, 10\]",
        ),
        ({"distribution": "fixed_size", "subset_sizes": (2.5,)}, "below 1, got 2.5"),
        ({"subset_sizes": (3.0,)}, "subset_sizes needs distribution=fixed_size"),
        ({"subset_sizes": (-1.0,)}, "subset_sizes must be in .*"),
        ({"num_test_images": -1}, "num_test_images must be in"),
        ({"batch_size": 0}, "batch_size must be in .*, got 0"),
        ({"num_permutations": 1}, "num_permutations must be 0, or 2 or more"),
        ({"dataset": "circle", "model": "convnet"}, "points, not images"),
        ({"widths": (4, 0)}, "widths must be in .*"),
    ],
)
def test_bad_configs_leave_nothing(tmp_path, change, message):
    small = {"widths": (6, 4), "epochs": 1, "num_masks": 5}
    with pytest.raises(ValueError, match=message):
        node_sweep.run(Config(**{**small, **change}), tmp_path / "run", log=quiet)
    assert not (tmp_path / "run").exists()
