"""Work on eight virtual devices: split, and the same results as on one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import meshes

SCRIPT = Path(__file__).parent / "devices.py"
MOST = 0.25  # of the operations of one device; an eighth, and what all have to do


def started(file, devices, *arguments):
    count = f" --xla_force_host_platform_device_count={devices}"
    flags = os.environ.get("XLA_FLAGS", "") + count
    with file.with_suffix(".log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(SCRIPT), str(file), *arguments],
            env=os.environ | {"XLA_FLAGS": flags},
            stdout=log,
            stderr=log,
        )


def check(process, file):
    assert process.wait(900) == 0, file.with_suffix(".log").read_text()[-3000:]
    found = json.loads(file.read_text())
    shares = {name: found.pop(name) for name in [*found] if "share of" in name}
    assert found and not {name: says for name, says in found.items() if says != "ok"}
    assert shares and not {n: s for n, s in shares.items() if not 0 < float(s) < MOST}


def test_masks_and_examples_are_split_over_devices(tmp_path):
    file = tmp_path / "found.json"
    check(started(file, 8, "Auto", "sweep", "dissect"), file)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_every_analysis_splits_its_work(tmp_path, kind):
    file = tmp_path / "found.json"
    check(started(file, 8, kind), file)


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = "sweep", "fit", "fit stacked", "lottery of eight", "dissect"
    files = [tmp_path / f"{i}.json" for i in range(2)]
    both = [started(f, 4, f"Auto:{port}:{i}", *names) for i, f in enumerate(files)]
    try:
        for process, file in zip(both, files):
            check(process, file)
    finally:
        for process in both:
            process.kill()
            process.wait()


def test_without_a_mesh_a_function_is_called_as_it_is():
    def fn(x):
        return x

    x = np.arange(3)
    assert meshes.parts() == 1 and meshes.split(fn)(x) is x
    assert meshes.put(x) is x and meshes.automatic(fn, lambda x: x)(x) is x


def test_a_mesh_of_one_device_changes_nothing():
    mesh = jax.make_mesh((1,), ("all",))
    masks = jnp.eye(3)
    alone = sj.sweep.evaluate(jnp.sum, masks, progress=False)
    found = sj.sweep.evaluate(jnp.sum, masks, progress=False, mesh=mesh)
    np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("mesh", [3, "all", jax.sharding.PartitionSpec("all")])
def test_what_is_no_mesh_is_refused(mesh):
    with pytest.raises(ValueError, match="mesh must be a mesh of devices, got .*make_"):
        sj.sweep.evaluate(jnp.sum, jnp.eye(3), mesh=mesh)
    with pytest.raises(ValueError, match="mesh must be a mesh of devices, got .*make_"):
        with meshes.by_default(mesh):
            sj.sweep.evaluate(jnp.sum, jnp.eye(3), progress=False)


def test_default_meshes_each_tell_what_was_split_within():
    square = meshes.spread(jax.vmap(jnp.square))
    double = meshes.on_mesh(lambda x, mesh=None: 2 * x)
    mesh = jax.make_mesh((1,), ("all",))
    with meshes.by_default(mesh) as outer:
        square(jnp.ones(2))
        with meshes.by_default(mesh) as inner:
            double(jnp.ones(2))
        square(jnp.ones(2))
    with meshes.by_default(mesh):
        double(jnp.ones(2))
    assert outer == ["square", "<lambda>", "square"]
    assert inner == ["<lambda>"]


@pytest.mark.parametrize("told, room", [({"bytes_limit": 32 << 30}, 2 << 30),
                                        (None, 1 << 30), ({}, 1 << 30)])  # fmt: skip
def test_room_is_a_share_of_the_memory_that_a_device_tells(monkeypatch, told, room):
    class Device:
        def memory_stats(self):
            return told

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert meshes.room() == room
