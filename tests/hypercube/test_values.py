"""All subsets by a compiled sweep, against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import hypercube
from sparsejax.hypercube import _memory as memory


@pytest.mark.parametrize("n", [1, 2, 7])
def test_every_subset_in_its_order(n):
    found = hypercube.evaluate(lambda m: m, n, progress=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, sj.masks.subsets(n))


@pytest.mark.defaults
def test_a_tree_with_gradients_equals_a_loop(tmp_path):
    a = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)), jnp.float32)

    def fn(m):
        return jnp.tanh(m @ a @ m)

    values, grads = hypercube.evaluate(
        jax.value_and_grad(fn), 5, batch_size=7, checkpoint=tmp_path, progress=False
    )
    rows = list(sj.masks.subsets(5))
    np.testing.assert_allclose(values, [fn(m) for m in rows], atol=1e-6)
    np.testing.assert_allclose(grads, [jax.grad(fn)(m) for m in rows], atol=1e-5)
    assert (tmp_path / "sweep.json").exists()


def test_the_exact_sums_take_the_values():
    effects = jnp.arange(1.0, 7.0)
    values = hypercube.evaluate(lambda m: m @ effects, 6, progress=False)
    np.testing.assert_allclose(hypercube.shapley(values), effects, atol=1e-5)


def test_results_that_do_not_fit_are_refused_before_they_are_computed(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    expected = r"all 2\^25 subsets need 1.1 GB, and 1.0 GB .*available.*estimate_mean"
    with pytest.raises(ValueError, match=expected):
        hypercube.evaluate(lambda m: m[:8], 25, progress=False)
    big = np.zeros((1, 24)), np.zeros((24, 2)), np.zeros(2), np.array([0])
    with pytest.raises(
        ValueError, match=r"2\^24 .* 1.7 GB.*; leave gradients out \(0.1"
    ):
        hypercube.evaluate_readout(*big, gradients=True)


def test_available_memory_is_a_sensible_number():
    have = memory.available()
    assert have is not None and 10**8 < have < 10**14


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts_without_files_that_make_way(
    version, tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.available() is None  # as on other systems
    memory.check(1 << 60, "anything")
    (tmp_path / "proc").mkdir()
    meminfo = "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"
    (tmp_path / "proc/meminfo").write_text(meminfo)
    assert memory.available() == 8000 * 1024
    names = memory._GROUPS[2 - version]
    stat = "active_file 7\ninactive_file 300\ntotal_inactive_file 300\n"
    for name, text in zip(names, ("2000\n", "500\n", stat), strict=True):
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory.available() == 2000 - 500 + 300
    (tmp_path / "sys/fs/cgroup" / names[0]).write_text("max\n")
    assert memory.available() == 8000 * 1024


@pytest.mark.parametrize("n", [0, -1, 31])
def test_the_number_of_nodes_is_checked(n):
    with pytest.raises(ValueError, match=f"n is {n}; .* 1 to 30 nodes"):
        hypercube.evaluate(lambda m: m, n)


def test_functions_that_return_no_arrays_are_refused():
    with pytest.raises(ValueError, match="fn returned a str"):
        hypercube.evaluate(lambda m: "loss", 3)
    with pytest.raises(ValueError, match="no arrays"):
        hypercube.evaluate(lambda m: None, 3)


@pytest.mark.parametrize("batch_size", [None, 1, 4, 19])
def test_groups_are_counted_as_their_nodes_in_one_row(batch_size, tmp_path):
    sizes = {"first": 2, "then": 1, "last": 3}
    a = jnp.asarray(np.random.default_rng(0).normal(size=(6, 6)), jnp.float32)

    def fn(masks):
        whole = jnp.concatenate([masks[name] for name in sizes])
        return jnp.tanh(whole @ a @ whole), whole

    values, rows = hypercube.evaluate(
        fn, sizes, batch_size=batch_size, checkpoint=tmp_path, progress=False
    )
    np.testing.assert_array_equal(rows, sj.masks.subsets(6))
    plain = hypercube.evaluate(lambda m: jnp.tanh(m @ a @ m), 6, progress=False)
    np.testing.assert_allclose(values, plain, atol=1e-6)
    again = hypercube.evaluate(fn, sizes, checkpoint=tmp_path, progress=False)
    np.testing.assert_array_equal(again[0], values)


def test_what_earlier_groups_make_is_shared():
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)), jnp.float32)
    rows = []

    @jax.custom_batching.custom_vmap
    def dense(h):
        return jnp.tanh(h @ kernel)

    @dense.def_vmap
    def _(size, is_batched, h):
        rows.append(size)
        return jax.vmap(lambda h: jnp.tanh(h @ kernel))(h), True

    def fn(masks):
        return (dense(masks["first"]) * masks["last"]).sum()

    hypercube.evaluate(fn, {"first": 5, "last": 5}, progress=False)
    # 64 in a batch, for all 32 of the last; arrays are counted in smaller ones
    assert max(rows) == 2


@pytest.mark.parametrize("sizes", [{}, {"a": 0}, {"a": 16, "b": 15}])
def test_groups_of_no_or_too_many_nodes_are_refused(sizes):
    with pytest.raises(ValueError, match="1 to 30 nodes"):
        hypercube.evaluate(lambda masks: masks, sizes)
