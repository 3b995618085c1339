"""What is left of every kernel, as sparse matrices."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse as jax_sparse
from jaxtyping import PyTree
from scipy import sparse

from sparsejax import checks, runs, trees


def kernels(
    params: PyTree, mask: PyTree | None = None, *, format: str = "csr"
) -> dict[str, Any]:
    """The kernels of a network as sparse matrices (inputs, outputs).

    Args:
        params: parameters.
        mask: a tree like `Masks.weights`; leaves that are never pruned (0-d) are left
            out. None: the non-zero weights of every leaf with two axes or more.
        format: "csr" for `scipy.sparse.csr_array`, "bcoo" for JAX's `BCOO`.

    Returns:
        `{path: matrix}`. The last axis of a kernel is its outputs; the others, such as
        rows, columns and input channels of a convolution, are flattened to inputs. A
        weight that is kept is stored, even if it is zero. Types that SciPy has no
        matrices of, such as bfloat16, become float32.

    Raises:
        ValueError: for an unknown format, leaves that are no arrays, and a mask that
            does not fit.

    Example:
        >>> params = {"kernel": np.array([[2.0, 0.0], [0.0, -1.0]]), "bias": np.ones(2)}
        >>> kernels(params)["kernel"].toarray().tolist()
        [[2.0, 0.0], [0.0, -1.0]]
        >>> kernels(params)["kernel"].nnz
        2
    """
    if format not in ("csr", "bcoo"):
        raise ValueError(f'unknown format {format!r}; there are "csr" and "bcoo"')
    checks.arrays(params)
    if mask is not None:
        checks.arrays(mask, "mask")
        trees.check_structure(mask, params, "mask", "params")
    leaves = {k: leaf for k, leaf in trees.by_path(params).items() if _is_number(leaf)}
    given = leaves if mask is None else trees.by_path(mask)
    matrices = {
        path: _matrix(path, np.asarray(leaf), np.asarray(given[path]) != 0)
        for path, leaf in leaves.items()
        if np.ndim(given[path]) >= 2
    }
    if format == "csr":
        return matrices
    to_bcoo = jax_sparse.BCOO.from_scipy_sparse
    return {path: to_bcoo(matrix) for path, matrix in matrices.items()}


def write_kernels(path: str | Path, matrices: Mapping[str, Any]) -> None:
    """Write kernels in "csr" format to one `.npz`, whole or not at all.

    Example:
        >>> import tempfile
        >>> params = {"kernel": np.array([[2.0, 0.0], [0.0, -1.0]])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_kernels(f"{folder}/kernels.npz", kernels(params))
        ...     sorted(runs.read_arrays(f"{folder}/kernels.npz"))
        ['kernel/data', 'kernel/indices', 'kernel/indptr', 'kernel/shape']
    """
    for name, matrix in matrices.items():
        if not isinstance(matrix, sparse.csr_array):
            raise ValueError(f"{name!r} is {checks.described(matrix)}, not of 'csr'")
    parts = {
        f"{name}/{part}": np.asarray(getattr(matrix, part))
        for name, matrix in matrices.items()
        for part in ("data", "indices", "indptr", "shape")
    }
    runs.write_arrays(Path(path), parts)


def read_kernels(path: str | Path) -> dict[str, sparse.csr_array]:
    """Read what `write_kernels` wrote.

    Raises:
        ValueError: if the file cannot be read or does not hold such matrices.

    Example:
        >>> import tempfile
        >>> params = {"kernel": np.array([[2.0, 0.0], [0.0, -1.0]])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_kernels(f"{folder}/kernels.npz", kernels(params))
        ...     read_kernels(f"{folder}/kernels.npz")["kernel"].toarray().tolist()
        [[2.0, 0.0], [0.0, -1.0]]
    """
    parts = runs.read_arrays(Path(path))
    names = dict.fromkeys(key.rpartition("/")[0] for key in parts)
    try:
        return {name: _read(parts, name) for name in names}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold sparse kernels: {error}") from None


def _is_number(leaf) -> bool:
    return not jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.extended)


def _matrix(path: str, kernel: np.ndarray, kept: np.ndarray) -> sparse.csr_array:
    if kernel.dtype.kind == "V" or kernel.dtype == np.float16:
        kernel = kernel.astype(np.float32)  # exact
    if kernel.shape != kept.shape:
        raise ValueError(
            f"the mask of {path} has shape {kept.shape}, expected {kernel.shape}"
        )
    flat, there = (a.reshape(-1, kernel.shape[-1]) for a in (kernel, kept))
    rows, columns = np.nonzero(there)
    entries = flat[rows, columns], (rows, columns)
    return sparse.csr_array(sparse.coo_array(entries, flat.shape))


def _read(parts: Mapping[str, np.ndarray], name: str) -> sparse.csr_array:
    def get(part):
        return parts[f"{name}/{part}"]

    shape = tuple(get("shape").tolist())
    matrix = sparse.csr_array((get("data"), get("indices"), get("indptr")), shape)
    matrix.check_format(full_check=True)
    return matrix
