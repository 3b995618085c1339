"""Configs and plans: exact numbers, and errors before anything runs."""

import dataclasses
import subprocess
import sys

import pytest

from sparsejax.experiments._study.config import help_texts
from sparsejax.experiments.lottery import Config, resolve
from sparsejax.experiments.lottery.config import CONTROLS, named
from sparsejax.experiments.lottery.pruning import rounds

MNIST = Config(dataset="mnist")


def test_the_usual_rounds():
    counts = rounds(MNIST).counts
    assert counts[:4] == [26432, 21146, 16917, 13534]
    assert counts[17:] == [595, 476]


def test_a_final_count_is_met_exactly():
    many = rounds(dataclasses.replace(MNIST, final_count=539))
    assert many.counts[-3:] == [744, 595, 539]
    assert many.scopes == ["global"] * 18
    one_shot = rounds(dataclasses.replace(MNIST, final_count=539, rounds=1))
    assert one_shot.counts == [26432, 539]
    assert rounds(dataclasses.replace(MNIST, final_count=595)).counts[-1] == 595


def test_layers_have_their_own_rates_and_numbers_of_rounds():
    own = ("conv_0=0.1x20", "conv_1/kernel=0.1x25", "conv_2=0.1x25", "dense_0=0.1x51")
    many = rounds(Config(dataset="mnist", model="convnet", layer_fractions=own))
    # Böhm et al. report 6, 23, 23 and 135 of 54, 324, 324 and 29,040.
    assert many.counts[0] == 29742 and many.counts[-1] == 6 + 23 + 23 + 135
    assert len(many.counts) == 52
    assert many.scopes[20]["conv_0/kernel"] == 0
    assert many.scopes[20]["conv_1/kernel"] == 0.1


def test_excluded_layers_do_not_count():
    assert rounds(Config(dataset="mnist", exclude=("dense_0",), rounds=1)).counts == [
        1344, 1075
    ]  # fmt: skip


def test_residual_networks_have_the_same_choices():
    config = Config(dataset="cifar10", widths=(4, 8, 8), final_count=100)
    assert rounds(config).counts[-1] == 100
    one = Config(dataset="scenes", widths=(4, 8, 8), rounds=1)
    whole = rounds(one).counts[0]
    less = rounds(dataclasses.replace(one, exclude=("conv1",))).counts[0]
    assert whole - less == 3 * 3 * 3 * 4


def test_what_is_left_open_depends_on_the_network():
    digits, scenes = resolve(Config()), resolve(Config(dataset="scenes"))
    assert digits == resolve(digits) and scenes == resolve(scenes)
    shown = ("model", "optimizer", "learning_rate", "weight_decay", "fraction",
             "rewind_to", "epochs", "batch_size", "seeds", "barrier")  # fmt: skip

    def values(config):
        return [getattr(config, name) for name in shown]

    assert values(digits) == [
        "mlp", "momentum", 0.15, 0.0, 0.2, 0, 40, 64, (0, 1, 2, 3, 4), True
    ]  # fmt: skip
    assert values(scenes) == [
        "resnet8", "adamw", 0.005, 1e-4, 0.5, 20, 6, 128, (0,), False
    ]  # fmt: skip
    assert digits.arms == ("rewind", "random_global", "random_layerwise", "reinit")
    assert scenes.arms == ("rewind",)
    assert (
        None
        not in dataclasses.asdict(resolve(Config(final_count=9, rounds=1))).values()
    )
    convnet = Config(model="convnet", optimizer="adamw", learning_rate=0.2)
    assert resolve(convnet).widths == (6, 6, 6)
    assert resolve(convnet).learning_rate == 0.2
    assert resolve(convnet).weight_decay == 1e-4


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dataset": "imagenet"}, "no dataset 'imagenet': expected one of digits, mn"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"model": "resnet9"}, "unknown model 'resnet9'"),
        (
            {"exclude": ("dense_9",)},
            "no layer 'dense_9'; there are 'dense_0', 'dense_1'",
        ),
        (
            {"layer_fractions": ("conv_0=0.1",)},
            "no layer 'conv_0'; there are 'dense_0'",
        ),
        ({"layer_fractions": ("dense_0:1",)}, "'dense_0:1' is not like 'dense_0=0.1'"),
        ({"layer_fractions": ("dense_0=0.1x0",)}, "'dense_0=0.1x0' is not like"),
        ({"layer_fractions": ("dense_0=0.1", "dense_0=0.2")}, "names 'dense_0' twice"),
        ({"layer_fractions": ("dense_0=1.5",)}, r"must be in \[0, 1\), got 1.5"),
        ({"exclude": ("dense_0", "dense_1", "dense_2")}, "leaves nothing to prune"),
        ({"fraction": 1.0}, r"fraction must be in \[0, 1\), got 1.0"),
        ({"fraction": -0.1}, r"fraction must be in \[0, 1\), got -0.1"),
        ({"final_count": 3392}, "final_count must be between 0 and 3392, got 3392"),
        ({"final_count": 9, "scope": "layer"}, "final_count needs scope=global"),
        ({"final_count": 9, "fraction": 0.0}, "never reaches 9 weights"),
        ({"seeds": (1, 1)}, "seeds must be distinct, got 1, 1"),
        ({"arms": ("rewind", "best")}, "unknown arms 'best'; expected 'rewind'"),
        (
            {"arms": ("rewind", "random")},
            "unknown arm 'random': pass random_layerwise .* random_global",
        ),
        ({"arms": ("finetune",)}, "arms must include rewind, got"),
        ({"batch_size": 0}, r"batch_size must be in \[1, 2\^31\), got 0"),
        ({"epochs": 0}, r"epochs must be in \[1, 2\^31\)"),
        ({"rounds": -1}, "rounds must be in .*"),
        ({"widths": (4, 0)}, r"widths must be in \[1, 2\^16\]"),
        ({"augment": True}, "augment is for residual networks, not mlp"),
        (
            {"dataset": "scenes", "model": "mlp"},
            "scenes have several labels: choose a resnet",
        ),
        (
            {"dataset": "scenes", "image_size": 8},
            "image_size is for folders of images, not scenes",
        ),
        (
            {"dataset": "scenes", "widths": (4,)},
            "widths must have 3 entries for resnet8, got 1",
        ),
        ({"optimizer": "adam", "weight_decay": 0.1}, "choose optimizer=adamw"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        rounds(dataclasses.replace(Config(), **change))


def test_every_field_is_explained():
    texts = help_texts(Config)
    assert set(texts) == {field.name for field in dataclasses.fields(Config)}
    for text in texts.values():
        first = text.split()[0].lower()
        assert len(text.split()) > 2
        assert first not in ("of", "as", "what", "likewise", "in")


def test_configs_cost_no_jax():
    code = (
        "import sys; from sparsejax.experiments import lottery; lottery.Config(); "
        "print([m for m in ('jax', 'numpy', 'flax', 'optax') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['numpy']")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "mlp"},
        {"fraction": 0.2, "seeds": (0, 1, 2, 3, 4)},
        {"widths": (32, 32), "arms": ("rewind", *CONTROLS), "barrier": True},
        {"learning_rate": 0.15, "optimizer": "momentum", "weight_decay": 0.0},
    ],
)
def test_one_run_has_one_name(change):
    assert named(Config(**change)) == Config()
    assert named(Config(**change, rounds=3)) == Config(rounds=3)
    other = Config(dataset="mnist", rounds=3, **change)
    assert resolve(named(other)) == resolve(other)
