"""Laws as tests: a law is a function of one network, tried on many of them.

A test that fails prints the networks that broke the law, and the command for one:

    SPARSEJAX_NETWORKS=17 python -m pytest -n0 tests/soundness -k 'select and quick'

`SPARSEJAX_NETWORKS=0:10000` and `-k quick` try so many architectures under each law.
"""

import itertools
import os
import traceback
from collections.abc import Callable

import numpy as np
import pytest
from networks import Network

DRAWS = 16  # networks of one architecture, in one program


def law(quick: int, slow: int, *, defaults: bool = False, **how):
    """A test of `check(network) -> how many networks were checked`.

    Args:
        quick, slow: how many architectures the quick and the slow test check; those
            that a law says nothing of, for which `check` returns 0, are passed over.
        defaults: whether the quick test is one of `make test-defaults`.
        **how: of `Network`.
    """

    def decorate(check: Callable):
        sizes = [
            pytest.param(0, quick, id="quick", marks=[pytest.mark.defaults] * defaults),
            pytest.param(quick, slow, id="slow", marks=pytest.mark.slow),
        ]

        @pytest.mark.parametrize(("first", "count"), sizes)
        def test(first, count):
            seeds = itertools.count(1000 * first)
            if given := os.environ.get("SPARSEJAX_NETWORKS"):
                start, _, stop = given.partition(":")
                seeds, count = range(int(start), int(stop or int(start) + 1)), 10**9
            checked, broken = [], []
            for seed in seeds:
                network = Network(seed, **how)
                try:
                    checked += [check(network)]
                except Exception as error:
                    broken.append(f"{network}\n{_said(error)}")
                    print(f"\n{broken[-1]}", flush=True)
                if len(broken) == 5 or np.count_nonzero(checked) >= count:
                    break
            print(f"\n{check.__name__}: {sum(checked)} networks, "
                  f"{np.count_nonzero(checked)} architectures")  # fmt: skip
            if broken:
                name, seed = check.__name__.removeprefix("test_"), broken[0].split()[1]
                command = f"SPARSEJAX_NETWORKS={seed[:-1]} python -m pytest -n0"
                broken.append(f"{command} tests/soundness -k '{name} and quick'")
                pytest.fail("\n\n".join(broken), pytrace=False)

        test.__name__ = test.__qualname__ = check.__name__
        test.__doc__ = check.__doc__
        test.check, test.how = check, how
        return test

    return decorate


def _said(error) -> str:
    last = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in last if "soundness" in frame.filename]
    where = f"{own[-1].name}, line {own[-1].lineno}" if own else ""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return "\n".join([f"{type(error).__name__} in {where}:", *lines[:12]])


def close(ours, oracle, eps: float, *others, times: float = 100, what: str = ""):
    """Equal to so many roundings of the largest of all these numbers."""
    oracle = np.asarray(oracle, np.float64)
    sizes = [np.asarray(a, np.float64).ravel() for a in (oracle, *others)]
    sizes = np.concatenate([[1.0], *sizes])
    scale = np.abs(sizes[np.isfinite(sizes)]).max()
    ours = np.asarray(ours).astype(np.float64)
    assert ours.shape == oracle.shape, (what, ours.shape, oracle.shape)
    np.testing.assert_allclose(
        ours, oracle, rtol=0, atol=times * eps * scale, err_msg=what
    )


def kink(network: Network, *words: str) -> bool:
    """Whether XLA without optimisations may lose which entry is the largest.

    It compares a maximum over axes with entries that it computes again, to other
    roundings, and finds none that is equal.
    """
    quick = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") == "1"  # see conftest.py
    return quick and network.has("max head", *words)


def line(error: ValueError) -> bool:
    """Whether an error is one line."""
    return len(str(error)) > 20 and "\n" not in str(error)
