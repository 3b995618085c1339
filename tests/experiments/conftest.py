"""Runs compile the same programs again and again; keep them for the session.

And every page that an experiment writes is read for what no reader should see.
"""

import contextlib
import html
import importlib
import io
import re
import shutil

import jax
import pytest

from sparsejax import _launch, pages
from sparsejax.experiments import lottery

PYTHON = re.compile(
    r"\(['\"]|\(\d+,\)|\b(None|True|False|nan|inf|array|dtype)\b|<(function|class|bound)"
)
ONE = re.compile(
    r"(?<![\d.,^/] )(?<![\w.,])1 (seeds|networks|units|weights|images|inputs|steps|"
    r"episodes|agents|samples|masks|methods|points|records|edges|outputs|rounds|nodes|"
    r"layers|flips|subsets|levels|vertices|boxes)\b"
)


@pytest.fixture(scope="package", autouse=True)
def compilation_cache(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("compiled"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    yield
    jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="package", autouse=True)
def read_every_page():
    """Pages with values as Python writes them, or of 1 seeds, end the run."""
    write = pages.page

    def page(title, *bodies, **options):
        text = write(title, *bodies, **options)
        body = re.sub(r"(?s)<(script|style|pre|code|svg).*?</\1>", " ", text)
        body = re.sub(r' (alt|aria-label)="([^"]*)"', r">\2<", body)
        seen = html.unescape(re.sub(r"(?s)<[^>]*>", " ", body))
        for wrong in (PYTHON, ONE):
            found = wrong.search(seen)
            if found:
                start, end = found.span()
                raise AssertionError(f"a page says {seen[start - 40 : end + 40]!r}")
        return text

    pages.page = page
    yield
    pages.page = write


@pytest.fixture(scope="session")
def command_line():
    """A function from an experiment and its flags to the lines that it prints.

    In this process, in which types are checked and compiled programs shared.
    """

    def call(name, *flags):
        spec = importlib.import_module(f"sparsejax.experiments.{name}.config")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            _launch.called(name, spec, [name, *flags], f"sparsejax {name}")
        return said.getvalue().splitlines()

    return call


def _quiet(line):
    pass


@pytest.fixture(scope="session")
def _lottery_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lottery") / "run"
    config = lottery.Config(
        widths=(8, 6), rounds=2, fraction=0.6, epochs=3, seeds=(0, 1), barrier=False,
        arms=("rewind", "random_layerwise"),
    )  # fmt: skip
    lottery.run(config, folder, log=_quiet)
    return folder


@pytest.fixture(scope="session")
def _residual_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("residual") / "run"
    config = lottery.Config(
        dataset="scenes", widths=(4, 4, 4), num_train_images=64, num_test_images=32,
        batch_size=32, epochs=1, rounds=1, rewind_to=1,
        arms=("rewind", "finetune"),
    )  # fmt: skip
    lottery.run(config, folder, log=_quiet)
    return folder


@pytest.fixture(scope="module")
def lottery_run(_lottery_run, tmp_path_factory):
    """The folder of a small lottery run: an MLP on digits, two seeds, three levels.

    Every module has a copy: analyses are written into the run that they are of.
    """
    return shutil.copytree(_lottery_run, tmp_path_factory.mktemp("copy") / "run")


@pytest.fixture(scope="module")
def residual_run(_residual_run, tmp_path_factory):
    """The folder of a small lottery run of a residual network on scenes, a copy."""
    return shutil.copytree(_residual_run, tmp_path_factory.mktemp("copy") / "run")
