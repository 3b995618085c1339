"""Subjects: networks of lottery runs, out of files, or trained here.

`of_run` reads any lottery run, `pretrained` a residual network's file, `trained` trains
a small one; `chosen` makes of flags what they name. An experiment takes any of them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sparsejax import data, models, trees
from sparsejax import pretrained as files
from sparsejax.experiments._study.subject import USUAL, Network, Subject, digest
from sparsejax.experiments._study.training import trained as trained
from sparsejax.experiments.lottery import subject as of_run

SMALL = ("resnet20", "resnet56")  # for images of 32x32
MODELS = (*SMALL, "resnet18", "resnet34", "resnet50")


def pretrained(
    model: str | None = None,
    checkpoint: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> Subject:
    """A residual network of images in [0, 1], from a file of its parameters.

    Args:
        model: one of `MODELS`; by default "resnet20".
        checkpoint: the file; by default `resnet_cifar10/MODEL_cifar10.safetensors` in
            `data_dir`.
        data_dir: where that lies, and the images of CIFAR-10.

    Raises:
        ValueError: for a file that is missing or of another network.
    """
    name = model or USUAL[1]
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; there are {trees.listed(MODELS)}")
    network = models.resnet(int(name.removeprefix("resnet")))
    root = Path(data_dir or os.environ.get(data.VARIABLE, ".")).expanduser()
    usual = root / "resnet_cifar10" / f"{name}_cifar10.safetensors"
    file = Path(checkpoint or usual)
    if not file.exists():
        source = data.SOURCES["resnet_cifar10"]
        raise ValueError(
            f"{file} is missing; pass --run with the folder of a lottery run "
            "(`sparsejax lottery --dataset=digits` makes one), --checkpoint (in Python "
            f"checkpoint=) with the file of {name}, or --data_dir with the folder "
            f"above resnet_cifar10; source: {source.origin}, license: {source.license};"
            " more in docs/data.md"
        )
    params = files.load(file, network)
    named = {} if checkpoint is None else {"checkpoint": file.name}
    side = 32 if name in SMALL else 224

    def fn(params, x):
        return network.apply(params, models.normalize(x))

    def load_data() -> tuple[np.ndarray, np.ndarray]:
        if name not in SMALL:
            raise ValueError(f"{name} comes without images to look at")
        test = data.cifar10(data_dir).test
        return np.asarray(test.x), np.asarray(test.y)

    return Subject(
        title=name,
        fn=fn,
        params=params,
        mask=jax.tree.map(np.ones_like, params),
        shape=(side, side, 3),
        domain=(0.0, 1.0),
        image=(side, side, 3),
        load_data=load_data,
        source={"model": name, **named, "parameters": digest(params)},
        network=Network("rewind", 0, 0, 1.0),
    )


def chosen(
    source: Mapping[str, Any], *, data_dir: str | Path | None = None
) -> Subject | None:
    """What flags name: a network of a run, or of a file; none where they name none.

    Args:
        source: values of `run`, `arm`, `run_seed`, `level`, `model` and `checkpoint`,
            as far as an experiment has them, `None` where one is not given.
        data_dir: folder of data.

    Raises:
        ValueError: for flags that go without --run, or do not go with it.
    """
    given = {key: value for key, value in source.items() if value is not None}
    of_runs = [key for key in ("arm", "run_seed", "level") if key in given]
    of_files = [key for key in ("model", "checkpoint") if key in given]
    if "run" in given:
        if of_files:
            raise ValueError(
                f"--{of_files[0]} cannot be used with --run: pass one or the other"
            )
        return of_run(
            given["run"],
            arm=given.get("arm"),
            seed=given.get("run_seed"),
            level=given.get("level"),
            data_dir=data_dir,
        )
    if of_runs:
        raise ValueError(f"--{of_runs[0]} needs --run, a lottery run")
    if of_files:
        return pretrained(given.get("model"), given.get("checkpoint"),
                          data_dir=data_dir)  # fmt: skip
    return None
