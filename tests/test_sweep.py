"""Sweeps against a loop."""

import inspect
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import sparsejax as sj
from sparsejax import runs
from sparsejax.sweep import _evaluate, _program


def fn(params, x):
    h = checkpoint_name(jnp.tanh(x @ params["a"]), "hidden_0")
    return h @ params["b"]


@pytest.fixture
def loss(rng):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    params, x, y = {"a": draw(3, 6), "b": draw(6, 2)}, draw(8, 3), draw(8, 2)
    weights = sj.masks.ones(fn, params, x).weights
    apply = sj.masked(fn)

    def loss(nodes):
        return jnp.mean((apply(params, sj.masks.Masks(weights, nodes), x) - y) ** 2)

    return loss


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
@pytest.mark.defaults
def test_all_subsets_equal_a_loop_whatever_the_batch(loss, batch_size):
    masks = {"hidden_0": sj.masks.subsets(6)}
    values = sj.sweep.evaluate(loss, masks, batch_size=batch_size, progress=False)
    one = jax.jit(loss)
    loop = [one({"hidden_0": row}) for row in masks["hidden_0"]]
    np.testing.assert_allclose(values, np.array(loop), rtol=1e-5)


def test_generated_masks_are_the_same_whatever_the_batch(loss):
    key = jax.random.key(3)

    def make(index):
        return {
            "hidden_0": sj.masks.bernoulli(
                jax.random.fold_in(key, index), jnp.ones(6), 0.5
            )
        }

    def both(nodes):
        return {"mask": nodes["hidden_0"], "loss": loss(nodes)}

    def run(n):
        return sj.sweep.evaluate(both, make, count=50, batch_size=n, progress=False)

    few, many = run(3), run(50)
    np.testing.assert_array_equal(few["mask"], many["mask"])
    np.testing.assert_allclose(few["loss"], many["loss"], rtol=1e-6)
    assert 0.3 < few["mask"].mean() < 0.7


@pytest.mark.defaults
def test_values_and_gradients_with_respect_to_masks(loss):
    masks = {"hidden_0": sj.masks.subsets(6)}
    values, grads = sj.sweep.evaluate(
        jax.value_and_grad(loss), masks, batch_size=10, progress=False
    )
    np.testing.assert_allclose(values[9], loss({"hidden_0": masks["hidden_0"][9]}))
    row = jax.grad(loss)({"hidden_0": masks["hidden_0"][9]})
    np.testing.assert_allclose(
        grads["hidden_0"][9], row["hidden_0"], rtol=1e-5, atol=1e-6
    )


def test_values_gradients_and_more_at_once(loss):
    masks = {"hidden_0": sj.masks.subsets(6)}

    def both(nodes):
        return (loss(nodes), {"kept": nodes["hidden_0"].sum()})

    (values, aux), grads = sj.sweep.evaluate(
        jax.value_and_grad(both, has_aux=True), masks, progress=False
    )
    assert values.shape == (64,) and grads["hidden_0"].shape == (64, 6)
    np.testing.assert_array_equal(aux["kept"], masks["hidden_0"].sum(1))


def test_the_batch_is_chosen_from_what_the_compiled_program_needs(monkeypatch):
    def small(m):
        return (m[:, None] * jnp.ones((1, 512))).cumsum(0).max()

    masks, sizes = jnp.ones((200, 50)), []

    def spy(*args):
        sizes.append(made(*args).batch_size)
        return made(*args)

    made = _program.Program
    monkeypatch.setattr(_evaluate, "Program", spy)
    for budget in (1e9, 2e6, 1.0):
        monkeypatch.setattr(_program, "_BATCH", {"cpu": (256, budget)})
        values = sj.sweep.evaluate(small, masks, progress=False)
        np.testing.assert_array_equal(values, np.full(200, 50, np.float32))
    assert sizes[0] == 200 and sizes[2] == 1
    # temporaries are 50 x 512 floats a mask, in one or more copies
    assert 4 <= sizes[1] <= 20


@pytest.mark.slow
def test_memory_is_that_of_a_batch_not_of_all_masks():
    command = (
        "import resource, jax, jax.numpy as jnp\n"
        "from sparsejax import sweep\n"
        "fn = lambda m: jnp.tanh(m[:, None] * jnp.ones((1, 30_000))).cumsum(1).sum()\n"
        "make = lambda i: jnp.full(20, i, jnp.float32)\n"
        "size = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "sweep.evaluate(fn, make, count=8, progress=False); before = size()\n"
        "sweep.evaluate(fn, make, count=500, progress=False)\n"
        "print((size() - before) // 1024)"
    )
    run = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert int(run.stdout) < 200, run.stderr  # all at once: 1.2 GB


def sweep_in(folder, masks=None, fn=None, **more):
    masks = sj.masks.subsets(6) if masks is None else masks

    def both(m):
        return {"a": jnp.sin(m).sum(), "b": (m * 2).astype(jnp.bfloat16)}

    options = {"batch_size": 3, "progress": False, **more}
    return sj.sweep.evaluate(fn or both, masks, checkpoint=folder, **options)


def assert_same(a, b):
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("damage", ["cut", "shape", "missing", "name"])
def test_a_damaged_or_missing_part_is_made_again(tmp_path, damage):
    whole = sweep_in(None)
    assert_same(sweep_in(tmp_path / "sweep"), whole)
    files = sorted((tmp_path / "sweep").glob("masks_*.npz"))
    assert len(files) == 22  # 64 masks, 3 at a time
    before = files[5].read_bytes()
    if damage == "missing":
        files[5].unlink()
    elif damage == "cut":
        files[5].write_bytes(before[:-20])
    else:
        arrays = runs.read_arrays(files[5])
        arrays = {k: v[:1] for k, v in arrays.items()} if damage == "shape" else {}
        runs.write_arrays(files[5], arrays)
    assert_same(sweep_in(tmp_path / "sweep"), whole)
    assert files[5].read_bytes() == before
    assert_same(sweep_in(tmp_path / "sweep", batch_size=None), whole)


def test_parts_are_a_bounded_number(tmp_path):
    def masks(i):
        return jnp.full(2, i, jnp.float32)

    values = sweep_in(tmp_path, masks, lambda m: m.sum(), count=1000, batch_size=1)
    np.testing.assert_array_equal(values, 2 * np.arange(1000))
    assert 64 < len(list(tmp_path.glob("*.npz"))) <= 128


@pytest.mark.parametrize(
    "change, message",
    [
        ({"masks": sj.masks.subsets(5)}, "(count, masks, results differ)"),
        ({"masks": 1 - sj.masks.subsets(6)}, "(masks differ)"),
        ({"masks": lambda i: jnp.ones(6), "count": 64}, "(masks differ)"),
        ({"batch_size": 4}, "(batch_size differ)"),
        ({"fn": lambda m: m}, "(results differ)"),
        ({"fn": lambda m: {"a": m.sum(), "b": m.astype(jnp.bfloat16)}},
         "checkpoint of another function"),
    ],
    ids=["count", "masks", "generated", "batch", "results", "fn"],
)  # fmt: skip
def test_the_checkpoint_of_another_sweep_is_refused(tmp_path, change, message):
    sweep_in(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)):
        sweep_in(tmp_path, **change)


def test_a_result_that_cancels_does_not_refuse_its_own_checkpoint(tmp_path, rng):
    w, v = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((6, 50), (50, 90)))

    def noise(m):
        h = jnp.tanh(m @ w)
        return (h @ v).sum() - h @ v.sum(axis=1)

    first = sweep_in(tmp_path, fn=noise, batch_size=None)
    assert_same(sweep_in(tmp_path, fn=noise, batch_size=None), first)


@pytest.mark.parametrize("row", [0, 17, 31, 63])
def test_one_generated_mask_that_changed_is_noticed(tmp_path, row):
    sweep_in(tmp_path, lambda i: jnp.ones(6), count=64)

    def other(i):
        return jnp.where(i == row, 0.0, jnp.ones(6))

    with pytest.raises(ValueError, match="masks differ"):
        sweep_in(tmp_path, other, count=64)


def test_one_result_that_changed_in_the_first_part_is_noticed(tmp_path):
    sweep_in(tmp_path, fn=lambda m: m.sum() + 3)

    def other(m):
        return jnp.where(m[0] > 0, 1.1, 1.0) * (m.sum() + 3)

    with pytest.raises(ValueError, match="checkpoint of another function"):
        sweep_in(tmp_path, fn=other)


def test_a_sweep_cut_short_goes_on_without_making_a_part_twice(tmp_path, monkeypatch):
    whole, write, files = sweep_in(None), runs.write_arrays, []

    def cut(file, arrays):
        if len(files) == 5:
            raise KeyboardInterrupt
        files.append(file)
        write(file, arrays)

    monkeypatch.setattr(runs, "write_arrays", cut)
    with pytest.raises(KeyboardInterrupt):
        sweep_in(tmp_path)
    done = files.copy()
    monkeypatch.setattr(
        runs, "write_arrays", lambda *a: (files.append(a[0]), write(*a))
    )
    assert_same(sweep_in(tmp_path), whole)
    assert len(done) == 5 and len(files) == len(set(files)) == 22


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a sweep checkpoint"):
        sweep_in(tmp_path)


SCRIPT = """
import sys, time
import jax, jax.numpy as jnp, numpy as np
from sparsejax import masks, runs, sweep
key = jax.random.key(3)
make = lambda i: masks.bernoulli(jax.random.fold_in(key, i), jnp.ones(40), 0.5)
def fn(m):
    for _ in range(5):
        m = jnp.tanh(jnp.outer(m, m) @ m * 0.3)
    return m.mean(), m
write = runs.write_arrays
def slowly(*args):
    write(*args)
    time.sleep(float(sys.argv[3]))
runs.write_arrays = slowly
a, b = sweep.evaluate(fn, make, count=500, checkpoint=sys.argv[1] or None,
                      batch_size=10, progress=False)
np.savez(sys.argv[2], a=a, b=b)
"""


def test_killed_and_started_again_is_the_same_bit_for_bit(tmp_path):
    def command(folder, out, wait):
        return [
            sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / out), wait
        ]  # fmt: skip

    process = subprocess.Popen(command(tmp_path / "cut", "no.npz", "0.05"))
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "cut").glob("masks_*.npz"))) < 5:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {p.name: p.stat().st_mtime_ns for p in Path(tmp_path / "cut").glob("m*")}
    assert 5 <= len(done) < 50 and not (tmp_path / "no.npz").exists()
    subprocess.run(command(tmp_path / "cut", "cut.npz", "0"), check=True)
    subprocess.run(command("", "whole.npz", "0"), check=True)
    for name, when in done.items():  # none was made twice
        assert (tmp_path / "cut" / name).stat().st_mtime_ns == when
    assert_same(*(runs.read_arrays(tmp_path / f"{k}.npz") for k in ("cut", "whole")))


def test_nan_is_counted_and_shown():
    def fn(m):
        return {"a": jnp.where(m["h"][:2].sum() == 2, jnp.nan, 1.0), "b": m["h"]}

    masks = {"h": sj.masks.subsets(5)}
    expected = (
        "results of 8 of 32 masks are NaN; the first is mask 3, which keeps "
        "2 of 5 entries of 'h' (0, 1)"
    )
    with pytest.warns(UserWarning, match=re.escape(expected)):
        out = sj.sweep.evaluate(fn, masks, batch_size=4, progress=False)
    assert np.isnan(out["a"]).sum() == 8 and np.isnan(out["a"][3])
    with warnings.catch_warnings(action="error"):
        sj.sweep.evaluate(lambda m: m["h"].sum().astype(int), masks, progress=False)


def test_bad_input(loss):
    with pytest.raises(ValueError, match="pass count="):
        sj.sweep.evaluate(loss, lambda i: {"hidden_0": jnp.ones(6)})
    with pytest.raises(ValueError, match="tree that can be called, as an Equinox"):
        sj.sweep.evaluate(loss, jax.tree_util.Partial(loss, jnp.ones((2, 6))))
    expected = "different lengths: {'a': .2,., 'b': .3,.}; stack every leaf, or close"
    with pytest.raises(ValueError, match=expected):
        sj.sweep.evaluate(lambda m: m, {"a": jnp.ones(2), "b": jnp.ones(3)})
    for name in ("count", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} is 2.0; expected an integer"):
            unchecked = inspect.unwrap(sj.sweep.evaluate)
            unchecked(lambda m: m, jnp.ones((2, 4)), **{name: 2.0})
    with pytest.raises(ValueError, match="count is 3, but there are 2"):
        sj.sweep.evaluate(lambda m: m, jnp.ones((2, 4)), count=3)
    with pytest.raises(ValueError, match="no masks: the leading axis"):
        sj.sweep.evaluate(lambda m: m, jnp.ones((0, 4)))
    with pytest.raises(ValueError, match="no masks: the tree"):
        sj.sweep.evaluate(lambda m: m, {})
    for count in (0, -1, 2**31):
        with pytest.raises(ValueError, match=f"count is {count}; expected 1 to"):
            sj.sweep.evaluate(lambda m: m, lambda i: jnp.ones(3), count=count)
    with pytest.raises(ValueError, match="batch_size is 0; expected at least 1"):
        sj.sweep.evaluate(lambda m: m, jnp.ones((2, 4)), batch_size=0)


@pytest.mark.parametrize(
    "fn, message",
    [
        (lambda m: None, "fn returned no arrays but None"),
        (lambda m: {"name": "loss", "loss": m.sum()}, "fn returned a str at 'name'"),
        (lambda m: jax.random.key(0), r"fn returned a key<fry>; expected arrays"),
    ],
    ids=["none", "text", "key"],
)
def test_functions_that_return_no_arrays(fn, message):
    with pytest.raises(ValueError, match=message):
        sj.sweep.evaluate(fn, jnp.ones((2, 4)), progress=False)


def test_an_error_of_the_function_says_what_it_was_given():
    with pytest.raises(TypeError) as caught:
        sj.sweep.evaluate(lambda m: m["a"] @ jnp.ones(3), {"a": jnp.ones((2, 4))})
    note = "raised by fn of one mask, of shapes {'a': (4,)}"
    assert note in caught.value.__notes__


def test_an_error_of_the_function_that_makes_masks_says_so():
    with pytest.raises(TypeError) as caught:
        sj.sweep.evaluate(lambda m: m, lambda i: jnp.ones(2) @ jnp.ones(3), count=4)
    notes = " ".join(caught.value.__notes__)
    assert "raised by the function that makes a mask" in notes


MASKS = {
    "text": ("masks.npz", "masks is the str 'masks.npz'; expected stacked arrays"),
    "a generator": ((m for m in np.eye(2)), "masks is a builtins.generator; expected"),
    "inside": ({"a": jnp.ones((2, 4)), "b": "x"}, r"masks\['b'\] is the str 'x'"),
    "names": (np.array(["a", "b"]), "masks is <U1 of shape"),
}


@pytest.mark.parametrize("masks, message", MASKS.values(), ids=MASKS)
def test_masks_that_are_no_arrays(masks, message):
    with pytest.raises(ValueError, match=message):
        sj.sweep.evaluate(lambda m: m, masks, progress=False)


@pytest.mark.parametrize("name", ["count", "batch_size"])
@pytest.mark.parametrize("number", [True, "2", [2]])
def test_numbers_that_are_no_integers(name, number):
    with pytest.raises(ValueError, match=f"{name} is .*; expected an integer"):
        inspect.unwrap(sj.sweep.evaluate)(
            lambda m: m, jnp.ones((2, 4)), **{name: number}
        )


@pytest.mark.parametrize(
    ("masks", "count"),
    [(jnp.ones((8, 3)), None), (lambda index: jnp.full(3, index, jnp.float32), 6)],
)
def test_batches_that_share_work_are_powers_of_two_of_made_masks(masks, count):
    """Else the last would not be of successive masks, or of others than were given."""
    with pytest.raises(ValueError, match="as many as a power of two; got [68] "):
        sj.sweep.evaluate(
            jnp.sum, masks, count=count, progress=False, batched=lambda f, i: i
        )
