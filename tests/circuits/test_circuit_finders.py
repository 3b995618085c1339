"""Finders against all subsets, and against circuits that were planted."""

import itertools as it

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import circuits, hypercube, train
from sparsejax.circuits import _rules
from sparsejax.models import planted

NODES = {"z": jnp.ones((3, 1)), "mlp": jnp.ones(3)}
N = 6


def squared(outputs, reference, y):
    return ((outputs - reference) ** 2).mean()


def cross_entropy(outputs, reference, y):
    return train.cross_entropy(outputs, y)


def loss_of(network, metric):
    return circuits.task(
        network.model.apply, network.params, network.x, network.y, metric=metric
    )


@pytest.fixture(scope="module")
def table():
    """Losses of all subsets of six nodes, none of them equal, not monotone."""
    return np.random.default_rng(0).normal(size=1 << N).astype("f4").astype(float)


@pytest.fixture(scope="module")
def loss(table):
    return circuits.from_table(table, NODES)


@pytest.fixture(scope="module")
def gates():
    network = planted.gates()
    return network, loss_of(network, squared)


def numbers(keep):
    return (keep * (1 << np.arange(keep.shape[-1]))).sum(-1)


def found(ranking, target):
    return frozenset(np.flatnonzero(ranking.keep[ranking.smallest(target)]).tolist())


FINDERS = {
    "eliminate": circuits.eliminate,
    "forward": lambda *a: circuits.greedy(*a, direction="forward"),
    "greedy": circuits.greedy,
    "beam": lambda *a: circuits.beam(*a, width=3),
    "swap": circuits.swap,
    "exact": circuits.exact,
    "noising": circuits.single,
    "denoising": lambda *a: circuits.single(*a, direction="denoising"),
    "acdc": lambda *a: circuits.acdc(*a, thresholds=[0.1, 1.0]),
    "scores": lambda *a: circuits.by_scores(*a, np.arange(6.0) % 4),
}


@pytest.mark.parametrize("finder", FINDERS.values(), ids=FINDERS)
def test_rankings_have_a_set_of_every_size_with_its_true_loss(finder, loss, table):
    ranking = finder(loss, NODES)
    assert ranking.keep.sum(1).tolist() == [*range(N + 1)]
    np.testing.assert_array_equal(ranking.losses, table[numbers(ranking.keep)])
    assert (ranking.gap(table) >= 0).all() and ranking.evaluations > N


def test_exact_is_the_best_of_every_size(loss, table):
    best = hypercube.best(table)
    for ranking in (
        circuits.exact(loss, NODES),
        circuits.exact(loss, NODES, table=table),
    ):
        assert numbers(ranking.keep).tolist() == best.subsets.tolist()
        assert not ranking.gap(table).any()


def test_flat_is_what_the_hypercube_takes(gates):
    network, loss = gates
    fn, sizes = circuits.flat(loss, network.nodes)
    values = hypercube.evaluate(fn, sizes, progress=False)
    ranking = circuits.exact(loss, network.nodes, table=values)
    np.testing.assert_allclose(
        circuits.greedy(loss, network.nodes).losses[3], ranking.losses[3], atol=1e-6
    )
    assert found(ranking, 1e-6) in network.circuits


def search(table, width, back):
    """Beam search in Python."""
    whole = (1 << N) - 1
    front, result = [whole if back else 0], {}
    result[bin(front[0]).count("1")] = front[0]
    for _ in range(N):
        sets = {s ^ (1 << i) for s in front for i in range(N) if (s >> i & 1) == back}
        front = sorted(sets, key=lambda s: table[s])[:width]
        result[bin(front[0]).count("1")] = front[0]
    return [result[k] for k in range(N + 1)]


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("direction", ["backward", "forward"])
def test_beam_search(loss, table, width, direction):
    ranking = circuits.beam(loss, NODES, width=width, direction=direction)
    expected = search(table, width, direction == "backward")
    assert numbers(ranking.keep).tolist() == expected


def test_no_single_swap_makes_a_set_better(loss, table):
    keep = circuits.swap(loss, NODES).keep
    for s in numbers(keep):
        swaps = [s ^ (1 << i) ^ (1 << j) for i, j in it.combinations(range(N), 2)]
        same = [t for t in swaps if bin(t).count("1") == bin(s).count("1")]
        assert all(table[s] <= table[t] for t in same)


def test_elimination_is_locally_minimal_with_many_nodes():
    """Of 80 nodes, so that they go in batches: 5 are needed, and one of two more."""
    n, needed, either = 80, [3, 11, 12, 40, 79], [20, 55]

    def loss(masks):
        m = jnp.concatenate([masks["a"], masks["b"]])
        return 6 - m[jnp.array(needed)].sum() - m[jnp.array(either)].max()

    nodes = {"a": jnp.ones(30), "b": jnp.ones(50)}
    ranking = circuits.eliminate(loss, nodes, target=0.5)
    assert found(ranking, 0.5) in ({*needed, 20}, {*needed, 55})
    assert ranking.evaluations < n * (n + 1) // 2
    keep = ranking.keep[ranking.smallest(0.5)]
    for i in np.flatnonzero(keep):
        keep[i] = False
        assert loss(dict(zip("ab", np.split(keep.astype("f4"), [30])))) > 0.5
        keep[i] = True
    assert found(circuits.eliminate(loss, nodes), 0.5) in (
        {*needed, 20},
        {*needed, 55},
    )


def walk(table, rise):
    keep = (1 << N) - 1
    for i in reversed(range(N)):
        if table[keep & ~(1 << i)] - table[keep] < rise:
            keep &= ~(1 << i)
    return keep


def test_acdc_is_one_pass_from_the_last_node_back(loss, table):
    rises = [-0.5, 0.2, 1.0, 3.0]
    ranking = circuits.acdc(loss, NODES, thresholds=rises)
    sets = [walk(table, rise) for rise in rises]
    assert {*sets} <= {*numbers(ranking.keep).tolist()}
    bits = np.array(sets)[:, None] >> np.arange(N) & 1
    assert ranking.scores.tolist() == bits.sum(0).tolist()


def test_equal_scores_lose_the_lowest_index_first():
    """A top k that keeps all that are equal keeps more than k."""
    nodes = {"h": jnp.ones(5)}
    ranking = circuits.by_scores(
        lambda m: m["h"].sum(), nodes, {"h": np.array([1.0, 0, 1, 1, -1])}
    )
    sets = [np.flatnonzero(row).tolist() for row in ranking.keep]
    assert sets == [[], [3], [2, 3], [0, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


# ---- Gradients.


def test_integrated_scores_add_up_for_any_ablation(gates):
    """Towards the ablation's values, not towards zero."""
    network, loss = gates
    apply, params, x = network.model.apply, network.params, network.x
    values = circuits.means(apply, params, x, network.nodes)
    means = circuits.task(apply, params, x, metric=squared, ablate=values)
    for one in (loss, means):
        ranking = circuits.integrated(one, network.nodes)
        saved = ranking.losses[0] - ranking.losses[-1]
        assert saved > 0.1 and abs(ranking.scores.sum() - saved) < 1e-3


def test_midpoints_are_exact_where_the_ends_of_steps_are_not():
    """Gradients of a quadratic are linear: their mean at the left ends is too small."""
    weights = jnp.array([1.0, -2.0])
    ranking = circuits.integrated(
        lambda m: (m["h"] @ weights - 3) ** 2, {"h": jnp.ones(2)}, steps=2
    )
    np.testing.assert_allclose(ranking.scores, [7.0, -14.0], rtol=1e-5)


def test_attribution_ranks_by_sign_or_by_size_and_says_which():
    def loss(m):
        return m["h"] @ jnp.array([-1.0, 2.0, -0.5])

    signed = circuits.attribution(loss, {"h": jnp.ones(3)})
    sized = circuits.attribution(loss, {"h": jnp.ones(3)}, absolute=True)
    assert signed.scores.tolist() == [1.0, -2.0, 0.5] and signed.method == "attribution"
    assert sized.scores.tolist() == [1.0, 2.0, 0.5] and "by size" in sized.method


def test_integrated_inputs_of_a_linear_function_are_what_a_swap_changes():
    from jax.ad_checkpoint import checkpoint_name

    def fn(params, x):
        return checkpoint_name(x @ params, "h").sum(-1)

    rng = np.random.default_rng(0)
    params, x, other = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((3, 4), (5, 3), (5, 3))
    )
    nodes = {"h": jnp.ones(4)}
    loss = circuits.task(
        fn, params, x, metric=lambda out, reference, y: out.mean(),
        ablate=circuits.resampled(fn, params, other, nodes),
    )  # fmt: skip
    ranking = circuits.integrated_inputs(loss, nodes, fn, params, x, other, steps=2)
    np.testing.assert_allclose(
        ranking.scores, -((x - other) @ params).mean(0), rtol=1e-4, atol=1e-6
    )
    named = circuits.integrated_inputs(
        loss, nodes, lambda p, x: fn(p, checkpoint_name(x, "embed")), params, x, other,
        at="embed", steps=2,
    )  # fmt: skip
    np.testing.assert_allclose(named.scores, ranking.scores, rtol=1e-5)


# ---- Learned masks.


def test_hard_concrete_samples_have_the_chance_of_the_formula():
    n = 100_000
    for logit in (-2.0, 0.3, 1.5):
        u = jax.random.uniform(jax.random.key(3), n, minval=1e-6, maxval=1 - 1e-6)
        z = _rules.concrete(u, jnp.full(n, logit))
        for share, chance in (
            ((z > 0).mean(), _rules.chance_open(jnp.float32(logit))),
            ((z < 1).mean(), 1 - jax.nn.sigmoid(logit - 1.5986)),
        ):
            assert abs(share - chance) < 3 * np.sqrt(chance * (1 - chance) / n)
    assert np.isclose(_rules.chance_open(jnp.float32(0.0)), jax.nn.sigmoid(1.5986))


def test_a_mask_is_open_at_the_end_where_its_stretched_sigmoid_is():
    theta = np.array([_rules.OPEN - 1e-3, _rules.OPEN + 1e-3])
    z = 1 / (1 + np.exp(-theta)) * 1.2 - 0.1
    assert z[0] < 0 < z[1] and np.isclose(_rules.OPEN, -2.3979, atol=1e-4)


def test_the_window_of_uniform_gradient_sampling_has_slope_one():
    u = jnp.linspace(0, 1, 4001)

    def mean(theta):
        return _rules.window(u, theta).mean()

    theta = jnp.float32(0.4)
    chance = jax.nn.sigmoid(theta)
    value, slope = jax.value_and_grad(mean)(theta)
    assert abs(value - chance) < 1e-3
    width = float(chance * (1 - chance))  # draws within it pass the gradient on
    assert abs(slope - width * width) < 1e-3


LEARNED = {
    "hard concrete": circuits.hard_concrete,
    "straight-through": circuits.straight_through,
    "uniform gradient sampling": circuits.ugs,
}


@pytest.mark.parametrize("name, finder", LEARNED.items(), ids=LEARNED)
def test_learned_masks_find_the_gates_with_every_key(name, finder, gates):
    network, loss = gates
    for seed in range(5):
        ranking = finder(
            loss, network.nodes, key=jax.random.key(seed), repeats=1, steps=120
        )
        assert found(ranking, 0.01) in network.circuits
        assert ranking.method == f"{name}, best of 8 runs"
        runs = ranking.runs
        assert runs.ranked.shape == (8, 9) and runs.penalties.shape == (8,)
        assert (ranking.losses <= runs.ranked.min(0)).all()


@pytest.mark.parametrize("finder", [circuits.eliminate, circuits.integrated])
def test_gates_are_found_and_decoys_are_not(finder, gates):
    network, loss = gates
    assert found(finder(loss, network.nodes), 0.01) in network.circuits


@pytest.mark.slow
@pytest.mark.parametrize("make", ["induction", "backup", "brackets"])
def test_planted_transformers_are_found(make):
    target = 0.5 if make == "brackets" else 0.05
    network = {
        "induction": lambda: planted.induction(4, 7),
        "backup": lambda: planted.induction(4, 7, backup=True),
        "brackets": lambda: planted.brackets(4),
    }[make]()
    loss = loss_of(network, cross_entropy)
    for finder in (circuits.eliminate, circuits.integrated, circuits.acdc):
        assert found(finder(loss, network.nodes), target) in network.circuits
    for finder in LEARNED.values():
        for seed in range(5):
            ranking = finder(
                loss, network.nodes, key=jax.random.key(seed), repeats=1, steps=120
            )
            assert found(ranking, target) in network.circuits


# ---- Bad input.


def test_what_cannot_be_ranked_is_refused_in_a_line():
    nodes = {"h": jnp.ones(3)}

    def bad(masks):  # NaN without node 1 and with node 0
        m = masks["h"]
        return jnp.where((m[1] == 0) & (m[0] == 1), jnp.nan, m.sum())

    for finder in (circuits.eliminate, circuits.greedy, circuits.exact, circuits.acdc):
        with pytest.raises(ValueError, match="the loss is NaN for") as caught:
            finder(bad, nodes)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="gradients of 3 of 3 nodes are not finite"):
        circuits.attribution(lambda m: jnp.sqrt(m["h"] - m["h"]).sum(), nodes)
    with pytest.raises(ValueError, match="too many to evaluate .at most 20.*325 eval"):
        circuits.exact(lambda m: m["h"].sum(), {"h": jnp.ones(25)})
    with pytest.raises(ValueError, match="one real number"):
        circuits.greedy(lambda m: m["h"], nodes)
    with pytest.raises(ValueError, match="with all nodes is 3, above the target 1"):
        circuits.eliminate(lambda m: m["h"].sum(), nodes, target=1.0)
    with pytest.raises(ValueError, match="expected {name: array of ones}"):
        circuits.greedy(bad, {})
    with pytest.raises(ValueError, match="order must have each of the 3 nodes once"):
        circuits.acdc(bad, nodes, order=[0, 1, 1])
    with pytest.raises(ValueError, match="one for each of the 3 nodes"):
        circuits.by_scores(bad, nodes, [1.0, 2.0])


def test_sets_are_written_in_any_way_and_checked():
    bits = [True, False, False, True, False, False]
    for which in ({0, 3}, np.array(bits), {"z": np.array(bits[:3], "f4")[:, None],
                  "mlp": np.array(bits[3:], "f4")}):  # fmt: skip
        assert circuits.subset(which, NODES).tolist() == bits
    with pytest.raises(ValueError, match="in the order of depth: 'z', 'mlp'"):
        circuits.subset(dict(reversed(NODES.items())), NODES)
    with pytest.raises(ValueError, match=r"no nodes \[6\]; there are 6"):
        circuits.subset([6], NODES)
    with pytest.raises(ValueError, match=r"mask of 'z' has shape \(3,\)"):
        circuits.subset({"z": jnp.ones(3), "mlp": jnp.ones(3)}, NODES)


def test_recovery_is_against_the_nearest_circuit():
    """An element that is missing is never counted as found."""
    result = circuits.recovery({0, 1, 5}, [{7, 8}, {0, 1, 2, 3}])
    assert result == (2 / 3, 0.5, False, {0, 1, 2, 3})
    assert circuits.recovery([4], [[4]]).exact
    assert circuits.auroc(np.array([0.0, 0, 0]), np.array([True, False, False])) == 0.5
