"""Reports: what they say of a circuit, and which they refuse to call faithful."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import circuits, hypercube, train
from sparsejax.circuits import _controls
from sparsejax.models import planted

NODES = {"z": jnp.ones((2, 1)), "mlp": jnp.ones(4)}
N = 6


def key():
    return jax.random.key(0)


def squared(outputs, reference, y):
    return ((outputs.reshape(y.shape) - y.astype(outputs.dtype)) ** 2).mean()


@pytest.fixture(scope="module")
def table():
    """Loss 0 only with nodes 1 and 4, or with 2, 3 and 4; most of the rest 1 to 2."""
    bits = np.arange(1 << N)[:, None] >> np.arange(N) & 1
    good = (bits[:, 1] | bits[:, 2] & bits[:, 3]) & bits[:, 4]
    noise = np.random.default_rng(0).uniform(1, 2, 1 << N)
    return np.where(good, 0.01 * bits.sum(1), noise).astype("f4").astype(float)


@pytest.fixture(scope="module")
def real():
    """A network that does its task, with the controls of it."""
    network = planted.gates()
    apply, params, x = network.model.apply, network.params, network.x
    y = np.asarray(network.y).reshape(-1).astype(int)
    loss = circuits.task(apply, params, x, y, metric=squared)
    controls = circuits.controls(
        apply, params, x, y, key=key(), metric=squared,
        untrained=network.model.init(jax.random.key(1), x),
    )  # fmt: skip
    return network, loss, controls


def test_everything_comes_from_a_table(table):
    loss = circuits.from_table(table, NODES)
    ranking = circuits.exact(loss, NODES, table=table)
    report = circuits.report(
        loss, ranking, nodes=NODES, key=key(), table=table, target=0.1, slack=0.05,
        others={"same": {1, 4}, "other": {2, 3, 4}}, held_out=loss, metric="kl",
        ablation="mean",
    )  # fmt: skip
    assert report.subset == (1, 4) and report.labels == ("z[1]", "mlp[2]")
    numbers = np.arange(1 << N)
    above = numbers[(numbers & 18) == 18]
    assert np.isclose(report.supersets.means[0], table[above].mean())
    chances = 0.9 ** (np.bitwise_count(above) - 2) * 0.1 ** (
        6 - np.bitwise_count(above)
    )
    assert np.isclose(report.supersets.means[1], (table[above] * chances).sum())
    assert report.supersets.worst == table[above].max()
    assert report.supersets.samples is None
    assert report.loss == report.held_out == table[18]
    assert report.complement == table[63 - 18] and report.full == table[63]
    assert report.alternatives.sets == ((1, 4),) and report.alternatives.minimal == 2
    assert report.alternatives.necessary == (1, 4)
    assert np.isclose(report.stability, (1 + 1 / 4) / 2)
    assert report.faithful is None and "not compared" in report.reasons[0]
    said = str(report)
    for words in (
        "2 of 6 nodes: z[1], mlp[2]",
        "loss: kl; ablation: mean",
        "all 2^4",
        "target 0.1",
        "held-out",
        "minimal circuits of any size: 2",
    ):
        assert words in said, said
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["subset"] == [1, 4] and plain["supersets"]["samples"] is None


def test_samples_come_near_the_table(table):
    loss = circuits.from_table(table, NODES)
    options = {"nodes": NODES, "supersets": 2000, "batch_size": 64}
    near = circuits.report(loss, {4}, key=key(), **options)
    exact = circuits.report(loss, {4}, key=key(), table=table, **options)
    np.testing.assert_allclose(near.supersets.means, exact.supersets.means, atol=0.05)
    assert near.supersets.worst == exact.supersets.worst
    assert near.random.loss == exact.random.loss  # of the same key
    assert "2000 samples" in str(near)


def test_a_planted_circuit_is_faithful(real):
    network, loss, controls = real
    assert [*controls] == ["untrained", "nonsense", "shuffled"]
    ranking = circuits.eliminate(loss, network.nodes)
    report = circuits.report(
        loss, ranking, nodes=network.nodes, key=key(), controls=controls, target=0.01
    )
    assert frozenset(report.subset) in network.circuits
    assert report.faithful is True and report.reasons == ()
    assert report.supersets.means[0] < 0.01
    assert all(c.supersets > 0.05 for c in report.controls.values())
    assert "faithful: yes" in str(report) and "nonsense: loss" in str(report)


def test_controls_have_no_faithful_circuits(real):
    network, loss, controls = real
    circuit = max(network.circuits, key=sorted)
    for name, control in controls.items():
        rest = {"real": loss, **{k: v for k, v in controls.items() if k != name}}
        report = circuits.report(
            control, circuit, nodes=network.nodes, key=key(), controls=rest, target=0.01
        )
        assert report.faithful is False
        assert any("the network itself misses" in reason for reason in report.reasons)
        assert any("real does as well" in reason for reason in report.reasons)


@pytest.mark.slow
def test_real_circuits_of_a_transformer_and_nonsense_ones():
    """What the issue asks for: 0.5 at most, and 1 at least."""
    network = planted.induction(4, 7)
    apply, params, x, y = network.model.apply, network.params, network.x, network.y

    def metric(outputs, reference, y):
        return train.cross_entropy(outputs, y)

    loss = circuits.task(apply, params, x, y, metric=metric)
    for seed in range(3):
        first, second, third = jax.random.split(jax.random.key(seed), 3)
        controls = circuits.controls(
            apply, params, x, y, key=first, metric=metric,
            untrained=network.model.init(second, x),
        )  # fmt: skip
        report = circuits.report(
            loss, circuits.eliminate(loss, network.nodes), nodes=network.nodes,
            key=third, controls=controls,
        )  # fmt: skip
        assert report.faithful and report.supersets.means[0] <= 0.5
        assert all(c.supersets >= 1 for c in report.controls.values())


def test_a_lucky_circuit_of_an_untrained_network_is_refused():
    """Of 10 random units a few fit labels that nothing was trained on."""
    rng = np.random.default_rng(0)
    h, out = rng.normal(size=(5, 10)), 4 * rng.normal(size=(10, 2))
    y = jnp.array([0, 1, 1, 0, 1])

    def loss(masks):
        return train.cross_entropy(jnp.asarray(h, "f4") * masks["h"] @ out_, y)

    out_ = jnp.asarray(out, "f4")
    nodes = {"h": jnp.ones(10)}
    values = hypercube.evaluate(*circuits.flat(loss, nodes), progress=False)
    ranking = circuits.exact(loss, nodes, table=values)
    assert values[-1] > 1 and ranking.losses.min() < 0.15
    report = circuits.report(
        loss, ranking, nodes=nodes, key=key(), table=values, target=0.15
    )
    assert report.loss < 0.15 and report.faithful is False
    assert report.supersets.means[0] > 3 * report.loss
    assert "there is nothing to be faithful to" in str(report)


def test_a_circuit_that_others_spoil_is_refused(table):
    """The network and the set do well, what lies between does not."""
    spoiled = np.where(np.isin(np.arange(64), [18, 63]), 0.0, 1.0)
    loss = circuits.from_table(spoiled, NODES)
    report = circuits.report(
        loss, {1, 4}, nodes=NODES, key=key(), table=spoiled, target=0.1,
        controls={"nonsense": circuits.from_table(table * 0 + 1, NODES)},
    )  # fmt: skip
    assert report.loss == report.full == 0 and not report.faithful
    assert [r.split(" as well")[0] for r in report.reasons] == [
        "random sets do", "nonsense does",
    ]  # fmt: skip


def test_losses_that_can_be_negative_are_compared_from_the_network_on():
    """Logit differences: 5 below the random sets', where half would be above."""
    values = -np.array([1.0, 8.0, 1.0, 10.0])
    nodes = {"h": jnp.ones(2)}
    loss = circuits.from_table(values, nodes)
    bad = circuits.from_table(0 * values, nodes)
    report = circuits.report(
        loss, {0}, nodes=nodes, key=key(), table=values, controls={"nonsense": bad}
    )
    assert report.faithful is True


def test_nonsense_labels_are_functions_of_the_input_alone():
    x = np.random.default_rng(0).integers(0, 3, (40, 5))
    y = np.arange(40) % 3
    labels = circuits.nonsense(key(), np.concatenate([x, x]), np.concatenate([y, y]))
    np.testing.assert_array_equal(labels[:40], labels[40:])
    assert {*labels.tolist()} == {0, 1, 2} and np.bincount(labels).min() > 15
    tokens = circuits.nonsense(key(), x, x)
    cut = circuits.nonsense(key(), np.where(np.arange(5) < 3, x, x[::-1]), x)
    assert tokens.shape == x.shape and (tokens[:, :3] == cut[:, :3]).mean() > 0.9
    with pytest.raises(ValueError, match="two classes or more"):
        circuits.nonsense(key(), x, 0 * y)


def test_controls_ablate_a_network_by_its_own_values(real):
    network = real[0]
    params, x = network.params, network.x
    name = [*network.nodes][0]

    def apply(params, x):  # two classes
        y = network.model.apply(params, x)
        return jnp.concatenate([y, 1 - y], axis=-1)

    def own(params):
        return circuits.means(apply, params, x, network.nodes)

    made = circuits.controls(apply, params, x, key=key(), metric="kl", ablate=own)
    assert [*made] == ["untrained"]
    values = [v[name] for v in (own(params), made["untrained"].ablate)]
    assert not np.allclose(*values)
    assert np.isfinite(made["untrained"](network.nodes))


def test_bad_input_is_refused_in_a_line(table):
    loss = circuits.from_table(table, NODES)
    ranking = circuits.greedy(loss, NODES)
    for options, message in [
        ({"target": -1.0}, "no set of the ranking meets the target -1"),
        ({"table": table[:32]}, r"losses of all 2\^6 subsets"),
        ({"keep_prob": (1.5,)}, "chances in"),
        ({"supersets": 0}, "at least 1"),
        ({"slack": -1.0}, "slack must be 0 or more"),
        ({"controls": loss}, "controls is .*expected a dictionary by name"),
        ({"others": [ranking]}, "others is .*expected a dictionary by name"),
        ({"table": table + 1}, "the table is of another loss"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            circuits.report(loss, ranking, nodes=NODES, key=key(), **options)
        assert "\n" not in str(caught.value)


def test_infinite_losses_have_no_report():
    nodes = {"h": jnp.ones(3)}
    with pytest.raises(ValueError, match="inf of no nodes and .* of all"):
        circuits.report(lambda m: 1 / m["h"].sum(), [0], nodes=nodes, key=key())


def test_rankings_of_other_nodes_are_refused(table):
    loss, other = circuits.from_table(table, NODES), {"h": jnp.ones(3)}
    ranking = circuits.greedy(lambda m: m["h"].sum(), other)
    with pytest.raises(ValueError, match="ranking is of 3 nodes; expected one of 6"):
        circuits.report(loss, ranking, nodes=NODES, key=key())
    with pytest.raises(ValueError, match="ranking is of 3 nodes; expected one of 6"):
        circuits.swap(loss, NODES, start=ranking)


def test_swaps_know_only_their_own_losses(table):
    """Losses of a start that was found with another loss are of no use."""
    start = circuits.greedy(lambda m: m["z"].sum() + m["mlp"].sum(), NODES)
    ranking = circuits.swap(circuits.from_table(table, NODES), NODES, start=start)
    numbers = (ranking.keep * (1 << np.arange(N))).sum(1)
    np.testing.assert_allclose(ranking.losses, table[numbers])


def test_a_smallest_set_is_a_circuit(table):
    loss = circuits.from_table(table, NODES)
    valid = circuits.passing(loss, NODES, 0.5)
    smallest = circuits.hitting_set(valid, N, key=key())
    report = circuits.report(loss, smallest, nodes=NODES, key=key(), target=0.5)
    assert report.subset == (1, 4)


@pytest.mark.parametrize("which", [[1, 0, 1, 0], np.array([1, 1]), 3, None])
def test_a_set_is_of_different_nodes(which):
    with pytest.raises(ValueError, match="names a node twice|the set is "):
        circuits.subset(which, NODES)


def test_nonsense_turns_pairs_of_right_and_wrong():
    x = jax.random.normal(key(), (16, 3))
    pairs = np.stack([np.arange(16) % 4, (np.arange(16) + 1) % 4], -1)
    turned = _controls._turned(key(), x, pairs)
    np.testing.assert_array_equal(np.sort(turned), np.sort(pairs))
    assert 4 <= (turned != pairs).any(-1).sum() <= 12
