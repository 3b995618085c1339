"""Every experiment that analyzes networks takes every kind of lottery run."""

import pytest

from sparsejax.experiments import lottery

REFUSED = {
    ("dissect", "mlp"): "is a feature map; dissect a convnet",
    ("dissect", "convnet"): "scenes are drawn as squares of 16",
}


@pytest.fixture(scope="module")
def lottery_runs(tmp_path_factory, lottery_run, residual_run):
    config = lottery.Config(
        model="convnet", widths=(2, 2, 2), seeds=(0,), rounds=1, epochs=1,
        num_train_images=64, arms=("rewind",), barrier=False,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("convnet") / "run"
    lottery.run(config, folder, log=lambda line: None)
    return {"mlp": lottery_run, "convnet": folder, "resnet8": residual_run}


@pytest.mark.parametrize("model", ["mlp", "convnet", "resnet8"])
@pytest.mark.parametrize(
    "name",
    [
        "circuits",
        "dissect",
        "features",
        "flowgraph",
        "node_sweep",
        "relevance",
        "weights",
    ],
)
def test_an_experiment_on_a_run(command_line, lottery_runs, name, model):
    flags = [f"--run={lottery_runs[model]}", "--dry_run"]
    flags += ["--num_test_images=32"] if name in ("circuits", "relevance") else []
    if (name, model) in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name, model]):
            command_line(name, *flags)
    else:
        *plan, folder = command_line(name, *flags)
        assert plan and folder.startswith(f"folder: {lottery_runs[model]}/{name}/")
