"""Work on eight virtual devices: split, and the same results as on one."""

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


def started(devices, *arguments):
    count = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), *arguments],
        env=os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def cases(kind, *names):
    check(started(8, kind, *names))


def check(process):
    said, errors = process.communicate(timeout=900)
    assert not process.returncode, errors[-3000:]
    lines = [line for line in said.splitlines() if line[0] != "["]  # gloo's
    found = dict(line.split(": ", 1) for line in lines)
    shares = {name: found.pop(name) for name in [*found] if "share of" in name}
    assert found and not {name: says for name, says in found.items() if says != "ok"}
    assert shares and not {n: s for n, s in shares.items() if not 0 < float(s) < MOST}


def test_masks_and_examples_are_split_over_devices():
    cases("Auto", "sweep", "dissect")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_every_analysis_splits_its_work(kind):
    cases(kind)


@pytest.mark.slow
def test_two_processes_share_the_work():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = "sweep", "fit", "fit stacked", "lottery of eight", "dissect"
    both = [started(4, f"Auto:{port}:{i}", *names) for i in range(2)]
    try:
        for process in both:
            check(process)
    finally:
        for process in both:
            process.kill()


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
