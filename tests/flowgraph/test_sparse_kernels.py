"""What is left of kernels, as sparse matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import flowgraph, masks, models

MODEL = models.convnet((3, 2), 4)


@jax.jit
def draw():
    x = jnp.zeros((8, 8, 1))
    params = MODEL.init(jax.random.key(0), x)
    weights = masks.ones(MODEL.apply, params, x).weights
    return params, masks.bernoulli(jax.random.key(1), weights, 0.3)


PARAMS, MASK = draw()


@pytest.mark.parametrize("format", ["csr", "bcoo"])
def test_kernels_hold_the_kept_weights(format):
    found = flowgraph.kernels(PARAMS, MASK, format=format)
    assert list(found) == ["conv_0/kernel", "conv_1/kernel", "dense_0/kernel"]
    for path, matrix in found.items():
        layer, _ = path.split("/")
        kernel = masks.apply(PARAMS, MASK)[layer]["kernel"]
        dense = matrix.toarray() if format == "csr" else matrix.todense()
        np.testing.assert_array_equal(dense, kernel.reshape(-1, kernel.shape[-1]))
        kept = int(MASK[layer]["kernel"].sum())
        assert (matrix.nnz if format == "csr" else matrix.nse) == kept


def test_without_a_mask_zeros_are_pruned():
    pruned = masks.apply(PARAMS, MASK)
    counts = {k: m.nnz for k, m in flowgraph.kernels(pruned).items()}
    assert counts == masks.counts(MASK)


def test_a_kept_weight_is_stored_though_it_is_zero():
    kernel, mask = jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]])
    (matrix,) = flowgraph.kernels({"k": kernel}, {"k": mask}).values()
    assert matrix.nnz == 1 and matrix.data[0] == 0


def test_files_keep_them(tmp_path):
    matrices = flowgraph.kernels(PARAMS, MASK)
    flowgraph.write_kernels(tmp_path / "kernels.npz", matrices)
    again = flowgraph.read_kernels(tmp_path / "kernels.npz")
    assert list(again) == list(matrices)
    for path, matrix in matrices.items():
        assert again[path].dtype == matrix.dtype
        np.testing.assert_array_equal(again[path].toarray(), matrix.toarray())


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'coo'"):
        flowgraph.kernels(PARAMS, format="coo")
    with pytest.raises(ValueError, match="missing: 'conv_1/bias', 'conv_1/ker"):
        flowgraph.kernels(PARAMS, {k: v for k, v in MASK.items() if k != "conv_1"})
    with pytest.raises(ValueError, match=r"mask of a has shape \(3, 2\), expected"):
        flowgraph.kernels({"a": np.ones((2, 2))}, {"a": np.ones((3, 2))})
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="does not hold sparse kernels"):
        flowgraph.read_kernels(tmp_path / "other.npz")


def test_what_is_removed_does_not_matter_and_what_is_small_is_there():
    """NaN where a mask removes, numbers below the normal range where it does not."""
    kernel = np.array([[np.nan, 1e-40], [np.inf, 0.0]], np.float32)
    mask = np.array([[0, 1], [0, 1]])
    (matrix,) = flowgraph.kernels({"k": kernel}, {"k": mask}).values()
    np.testing.assert_array_equal(matrix.toarray(), [[0, np.float32(1e-40)], [0, 0]])
    assert matrix.nnz == 2
    small = np.where(mask, kernel, 0)
    assert flowgraph.kernels({"k": small})["k"].nnz == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "float32"])
@pytest.mark.parametrize("format", ["csr", "bcoo"])
def test_kernels_of_every_type(dtype, format):
    kernel = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    found = flowgraph.kernels({"k": jnp.asarray(kernel)}, format=format)["k"]
    dense = found.toarray() if format == "csr" else found.todense()
    np.testing.assert_array_equal(dense, kernel.astype(np.float32))


def test_trees_with_leaves_of_other_kinds(tmp_path):
    tree = {"k": np.eye(2), "keys": jax.random.split(jax.random.key(0), (2, 2)), "n": 3}
    assert list(flowgraph.kernels(tree)) == ["k"]
    mask = jax.tree.map(lambda leaf: np.ones(()), tree) | {"k": np.eye(2)}
    found = flowgraph.kernels(tree, mask)
    assert found["k"].nnz == 2
    with pytest.raises(ValueError, match=r"not arrays \('act'\).*eqx.partition"):
        flowgraph.kernels({"k": np.eye(2), "act": len})
    with pytest.raises(ValueError, match="'k' is a .*BCOO, not of 'csr'"):
        flowgraph.write_kernels(
            tmp_path / "a.npz", flowgraph.kernels(tree, format="bcoo")
        )
