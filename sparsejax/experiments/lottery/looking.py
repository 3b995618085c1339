"""A network of a lottery run as a `Subject`, to be looked at."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax import data, runs
from sparsejax.experiments._study.subject import Network, Subject, digest
from sparsejax.experiments.lottery import build, reading
from sparsejax.experiments.lottery.config import DATASETS
from sparsejax.experiments.lottery.tasks import Task, form, task


def subject(
    folder: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    level: int | None = None,
    data_dir: str | Path | None = None,
    images: Task | None = None,
) -> Subject:
    """A network of a lottery run, with all others of the run beside it.

    Args:
        folder: the run's, or of an analysis in it, as RUN/flowgraph/NAME, whose network
            is then the default.
        arm: how it was made, one of `ARMS`; by default "rewind".
        seed: of its first parameters; by default the run's first.
        level: number of prunings; by default the last that is there.
        data_dir: folder of the data set's files.
        images: those of the run, where they have been read.

    Raises:
        ValueError: if the folder is no such run, or has no such network.

    Example:
        >>> one = subject("results/runs/lottery/NAME", level=8)  # doctest: +SKIP
    """
    folder, about = _around(Path(folder))
    arm = str(about.get("arm", "rewind") if arm is None else arm)
    seed = about.get("run_seed") if seed is None else seed
    level = about.get("level") if level is None else level
    run = reading.read(folder)
    params, mask = reading.network(run, arm, level, seed)
    seed = run.seeds[0] if seed is None else seed
    level = run.levels[arm][-1] if level is None else level
    networks = tuple(
        Network(r["arm"], r["level"], r["seed"], r["density"], r.get("test_accuracy"))
        for r in run.records
        if r["level"] in run.levels.get(r["arm"], ())
    )
    one = [n for n in networks if (n.arm, n.level, n.seed) == (arm, level, seed)]
    if not one:
        raise runs.DamagedFile(
            f"{run.folder / 'metrics.jsonl'} lacks level {level} of seed {seed}"
        )

    @cache
    def read_images() -> Task:
        return images or task(run.config, data_dir)

    known = run.config.dataset in DATASETS
    image = form(run.config)[0] if known else read_images().shape
    shape = build.input_shape(run.config, image)

    def load(part: str) -> tuple[np.ndarray, np.ndarray]:
        x, y = getattr(read_images(), part)
        x = np.asarray(x[np.arange(len(x))] if isinstance(x, data.Images) else x)
        return x.reshape(len(x), *shape), np.asarray(y)

    def read(network: Network):
        return reading.network(run, network.arm, network.level, network.seed)

    what = f"{run.config.model} on {Path(run.config.dataset).name}"
    which = {} if arm == "rewind" else {"arm": arm}
    return Subject(
        title=", ".join([what, *which.values(), f"seed {seed}", f"level {level}"]),
        fn=reading.model(run).apply,
        params=params,
        mask=mask,
        shape=shape,
        domain=(0.0, 1.0),
        image=image,
        load_data=partial(load, "test"),
        source={"run": run.folder.resolve().name, **which, "run_seed": seed,
                "level": level, "parameters": digest(params)},
        network=one[0],
        networks=networks,
        read=read,
        load_train_data=partial(load, "training"),
        run=run.folder,
    )  # fmt: skip


def _around(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The lottery run that an analysis lies in, and which network it looked at."""
    file = folder / "config.json"
    config = runs.read_json(file) if file.is_file() else None
    source = config.get("subject") if isinstance(config, dict) else None
    if not isinstance(source, dict) or not isinstance(source.get("run"), str):
        return folder, {}
    whole = folder.parents[1] if len(folder.parents) > 1 else folder / ".." / ".."
    if whole.resolve().name != source["run"]:
        return folder, {}
    return whole, source
