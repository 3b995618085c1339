"""Plans: exact numbers, and errors before anything runs."""

import dataclasses

import pytest

from sparsejax.experiments.fields import help_texts
from sparsejax.experiments.lottery_config import Config, plan

MNIST = Config(dataset="mnist")


def test_the_usual_rounds():
    counts = plan(MNIST).counts
    assert counts[:4] == [26432, 21146, 16917, 13534]
    assert counts[17:] == [595, 476]


def test_a_final_count_is_met_exactly():
    made = plan(dataclasses.replace(MNIST, final_count=539))
    assert made.counts[-3:] == [744, 595, 539]
    assert made.scopes == ["global"] * 18
    one_shot = plan(dataclasses.replace(MNIST, final_count=539, rounds=1))
    assert one_shot.counts == [26432, 539]
    assert plan(dataclasses.replace(MNIST, final_count=595)).counts[-1] == 595


def test_layers_have_their_own_rates_and_numbers_of_rounds():
    own = ("conv_0=0.1x20", "conv_1/kernel=0.1x25", "conv_2=0.1x25", "dense_0=0.1x51")
    made = plan(Config(dataset="mnist", model="convnet", layer_fractions=own))
    # Böhm et al. report 6, 23, 23 and 135 of 54, 324, 324 and 29,040.
    assert made.counts[0] == 29742 and made.counts[-1] == 6 + 23 + 23 + 135
    assert len(made.counts) == 52
    assert made.scopes[20]["conv_0/kernel"] == 0
    assert made.scopes[20]["conv_1/kernel"] == 0.1


def test_excluded_layers_do_not_count():
    made = plan(Config(dataset="mnist", exclude=("dense_0",), rounds=1))
    assert made.counts == [1344, 1075]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"dataset": "imagenet"},
            "unknown dataset 'imagenet'; there are 'digits', 'mn",
        ),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
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
        ({"seeds": ()}, "seeds must have one entry at least"),
        ({"seeds": (1, 1)}, "seeds must be different, got 1, 1"),
        ({"controls": ("best",)}, "unknown controls 'best'; there are 'random'"),
        ({"batch_size": 0}, r"batch_size must be in \[1, 2\^31\), got 0"),
        ({"epochs": 0}, r"epochs must be in \[1, 2\^31\)"),
        ({"widths": (4, 0)}, r"widths must be in \[1, 2\^16\]"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        plan(dataclasses.replace(Config(), **change))


def test_every_field_is_explained():
    texts = help_texts(Config)
    assert set(texts) == {field.name for field in dataclasses.fields(Config)}
    assert all(len(text) > 10 for text in texts.values())
