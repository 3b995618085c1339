"""Importing the package is cheap, lazy, and starts no backend."""

import subprocess
import sys

import sparsejax as sj


def run(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_import_starts_nothing():
    out = run(
        "import sys, sparsejax; print([m for m in ('jax', 'flax', 'matplotlib', "
        "'sklearn', 'optax') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_masks_cost_only_jax_and_no_backend():
    out = run(
        "import sys, sparsejax as sj; sj.masks, sj.masked;"
        "from jax._src import xla_bridge;"
        "print([m for m in ('flax', 'matplotlib', 'sklearn', 'optax') "
        "if m in sys.modules], xla_bridge.backends_are_initialized())"
    )
    assert out.strip() == "[] False"


def test_every_public_name_exists():
    for name in sj.__all__:
        assert getattr(sj, name) is not None
    assert set(sj.__all__) <= set(dir(sj))


def test_experiments_can_be_reached_from_the_top():
    assert sj.experiments.lottery.Config().dataset == "digits"


def test_experiments_start_no_backend():
    """Nor launchers' `--help`: they import them."""
    out = run(
        "import importlib, pkgutil\n"
        "import sparsejax.experiments\n"
        "for module in pkgutil.iter_modules(sparsejax.experiments.__path__):\n"
        "    importlib.import_module(f'sparsejax.experiments.{module.name}')\n"
        "from jax._src import xla_bridge\n"
        "print(xla_bridge.backends_are_initialized())"
    )
    assert out.strip() == "False"
