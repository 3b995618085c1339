"""One circle classifier, measured: tables, paths, choices of nodes, figures' arrays."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sparsejax import data, hypercube, lift, masks, models, removal, train, trees
from sparsejax.experiments.circle_removal import densities
from sparsejax.experiments.circle_removal.config import Config


class Net(NamedTuple):
    """A trained network and its test set."""

    params: dict[str, dict[str, jax.Array]]
    x: np.ndarray
    y: np.ndarray


def trained(config, seed: int) -> Net:
    """One network as in the source: 2-n-2, ReLU, Adam, Glorot uniform kernels."""
    first, second, points_key, test_key, order_key = jax.random.split(
        jax.random.key(seed), 5
    )
    glorot, n = jax.nn.initializers.glorot_uniform(), config.num_nodes
    params = {
        "dense_0": {"kernel": glorot(first, (2, n)), "bias": jnp.zeros(n)},
        "dense_1": {"kernel": glorot(second, (n, 2)), "bias": jnp.zeros(2)},
    }
    model, apply = _model(n)
    points = data.circle(points_key, config.num_points, variant=config.variant)
    test = data.circle(test_key, config.num_points, variant=config.variant)
    state, _ = train.fit(
        apply,
        params,
        masks.ones(model.apply, params, points.x),
        (points.x, points.y),
        optimizer=_adam(config.learning_rate),
        batch_size=config.batch_size,
        epochs=config.epochs,
        key=order_key,
    )
    return Net(state.params, np.asarray(test.x), np.asarray(test.y))


def mask_stream(config) -> dict[float, np.ndarray]:
    """The source's masks: for every keep probability 0/1, shape (samples, nodes).

    One stream of NumPy's Mersenne twister, seeded with 17, in the order of keep_probs.
    """
    stream = np.random.RandomState(17)
    shape = config.num_masks, config.num_nodes
    return {p: (stream.rand(*shape) < p).astype(np.float32) for p in config.keep_probs}


def measure(
    config: Config, seed: int, *, figures: bool = False
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Everything about one network.

    Returns:
        One record of numbers; and arrays: `params/...`, the test set, the loss of all
        subsets and, if `figures`, what figures are drawn from.
    """
    net, n = trained(config, seed), config.num_nodes
    first, second = net.params["dense_0"], net.params["dense_1"]
    hidden = jax.nn.relu(jnp.asarray(net.x) @ first["kernel"] + first["bias"])
    values = hypercube.evaluate_readout(
        hidden, second["kernel"], second["bias"], net.y, gradients=True
    )
    losses = np.asarray(values.losses, np.float64)
    slopes = values.gradients
    assert slopes is not None
    gradients = {"loss": slopes, "log_loss": removal.log_gradients(losses, slopes)}
    masks_ = mask_stream(config)
    drawn = {p: numbers(kept) for p, kept in masks_.items()}
    exact = {p: hypercube.probabilities(n, p) for p in config.keep_probs}
    log_losses = np.log(losses)
    covariance = hypercube.path_covariance(log_losses)
    paths = removal.path_statistics(log_losses[_paths(config, seed)])
    record = {
        "seed": seed,
        "full_loss": losses[-1],
        "full_accuracy": float(values.accuracies[-1]),
        "better_than_full": int((losses < losses[-1]).sum()),
        "sampled": _tables(losses, gradients, {p: (m, None) for p, m in drawn.items()}),
        "exact": _tables(
            losses, gradients, {p: (slice(None), w) for p, w in exact.items()}
        ),
        "derivative": {str(p): hypercube.banzhaf(losses, p).sum() for p in exact},
        "shapley": hypercube.shapley(losses),
        "by_size": by_size(losses),
        "mask_stream": _counts(masks_),
        "path": None,
        "power": None,
    }
    if np.ptp(log_losses) > 0:  # not where all subsets are alike
        record["path"] = {
            "exact": covariance[0] / covariance[0, 0],
            "sampled": paths.correlation,
        }
        record["power"] = _power(log_losses)
    arrays = {
        f"params/{k}": np.asarray(v) for k, v in trees.by_path(net.params).items()
    }
    arrays |= {"x": net.x, "y": net.y}
    arrays["losses"] = np.asarray(values.losses)
    if figures:
        arrays |= densities.arrays(losses, gradients, drawn, exact, config.bandwidth)
        arrays |= _maps(config, net)
        arrays["path/exact"] = covariance
        arrays["path/from_start"] = paths.from_start
        arrays["path/from_end"] = paths.from_end
        arrays["interactions"] = hypercube.interactions(losses)
    return [record], arrays


def numbers(kept: np.ndarray) -> np.ndarray:
    """The numbers of subsets given as rows of 0 and 1."""
    return kept.astype(np.int64) @ (1 << np.arange(kept.shape[-1]))


def _tables(losses, gradients, draws) -> dict[str, Any]:
    """The source's tables, for each keep probability.

    `draws` has the chosen subsets, and their weights or None.
    """
    tables: dict[str, Any] = {}
    for p, (rows, weights) in draws.items():
        average = functools.partial(np.average, weights=weights)
        fit = removal.fit_log_normal(losses[rows], weights)
        tables[str(p)] = table = {
            "mean_loss": average(losses[rows]),
            "skew_loss": _skew(losses[rows], average),
            "mean_log_loss": fit.mean,
            "sd_log_loss": fit.sd,
            "skew_log_loss": _number(fit.skew),
            "distance": fit.distance,
        }
        for name, values in gradients.items():
            moments = removal.moments(values[rows], weights)
            table[f"mean_{name}_gradient"] = float(moments.mean)
            table[f"sd_{name}_gradient"] = float(moments.sd)
    rows, weights = draws[densities.middle(draws)]
    values = gradients["log_loss"]
    kept = np.arange(len(values))[rows, None] >> np.arange(values.shape[1]) & 1
    states = removal.by_state(values[rows], kept.astype(np.float32), weights)
    for name, moments in (("on", states.on), ("off", states.off)):
        tables[name] = {"mean": _number(moments.mean), "sd": _number(moments.sd)}
    return tables


def _counts(masks_) -> dict[str, int]:
    """What the source says of its masks at the last keep probability."""
    kept = list(masks_.values())[-1]
    return {
        "distinct": len(np.unique(kept, axis=0)),
        "all_on": int(kept.all(axis=1).sum()),
    }


def _power(values) -> np.ndarray:
    """Parts of the variance over all subsets, at degrees 1 to n."""
    size = hypercube.subset_sizes(len(values).bit_length() - 1)
    power = np.bincount(size, weights=hypercube.walsh(values) ** 2)[1:]
    return power / power.sum()


def _skew(values, average) -> float | None:
    away = values - average(values)
    spread = average(away**2)
    return float(average(away**3) / spread**1.5) if spread > 0 else None


def _number(value) -> float | None:
    """A number that JSON can hold."""
    return float(value) if np.isfinite(value) else None


def _paths(config, seed) -> np.ndarray:
    """Numbers of the subsets along random paths, shape (paths, nodes + 1)."""
    # apart from the keys of `trained`, which are the first of the seed's
    key = jax.random.fold_in(jax.random.key(seed), 1)
    keys = jax.random.split(key, config.num_paths)
    walk = jax.jit(jax.vmap(functools.partial(masks.flip_path, n=config.num_nodes)))
    return numbers(np.asarray(walk(keys)))


def by_size(losses) -> dict[str, np.ndarray]:
    """Losses by number of nodes kept: the best subset, choices of it, all subsets."""
    n = len(losses).bit_length() - 1
    sizes = hypercube.subset_sizes(n)
    ranked = np.argsort(hypercube.shapley(losses), kind="stable")  # lowest: lowers most
    top = np.concatenate([[0], np.cumsum(1 << ranked)])
    order = np.lexsort((losses, sizes))
    starts = np.searchsorted(sizes[order], np.arange(n + 2))

    def at(q):
        return (starts[:-1] + q * (np.diff(starts) - 1)).round().astype(int)

    return {
        "best": hypercube.best(losses).values,
        "shapley": losses[top],
        "backward": _backward(losses),
        "mean": np.bincount(sizes, losses) / np.bincount(sizes),
        "low": losses[order[at(0.05)]],
        "high": losses[order[at(0.95)]],
    }


def _backward(losses) -> np.ndarray:
    """Losses when the node that is missed least goes, one after another."""
    n = len(losses).bit_length() - 1
    subset, found = len(losses) - 1, [losses[-1]]
    for _ in range(n):
        smaller = [subset & ~(1 << i) for i in range(n) if subset >> i & 1]
        subset = min(smaller, key=losses.__getitem__)
        found.append(losses[subset])
    return np.array(found[::-1])


@functools.cache
def _model(nodes: int):
    """The network and its masked form, the same objects at every call."""
    model = models.mlp((nodes,), 2)
    return model, lift.masked(model.apply)


_adam = functools.cache(optax.adam)


def _maps(config, net) -> dict[str, np.ndarray]:
    """Loss and its gradient with respect to every node, over the input square."""
    model, apply = _model(config.num_nodes)
    whole = masks.ones(model.apply, net.params, net.x)
    radius = data.circle_radius(config.variant)

    def loss(mask, point):
        outside = (jnp.sum(point * point) > radius**2).astype(jnp.int32)
        logits = apply(net.params, whole._replace(nodes={"hidden_0": mask}), point)
        return train.cross_entropy(logits[None], outside[None])

    maps = removal.heat_maps(loss, jnp.ones(config.num_nodes), extent=1.0, size=101)
    return {"maps/loss": maps.loss, "maps/gradients": maps.gradients}
