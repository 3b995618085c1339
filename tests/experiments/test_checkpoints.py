"""Levels on disk are read as they were written, up to the first that is damaged."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax import runs, train, trees
from sparsejax.experiments import checkpoints
from sparsejax.prune import Ticket

MASK = {"a": {"kernel": jnp.array([[1.0, 0.0]]), "bias": jnp.array(1.0)}}


def state(number):
    params = {"a": {"kernel": jnp.array([[number, 0.0]]), "bias": jnp.zeros(2)}}
    key = jax.random.key(int(number))
    return train.init(params, optax.sgd(0.1, momentum=0.9), key)


@pytest.fixture
def saved(tmp_path):
    tickets = [Ticket(i, MASK, state(0.0), state(i + 1.0)) for i in range(3)]
    for ticket in tickets:
        checkpoints.save(tmp_path, ticket)
    return tmp_path, tickets


def resume(folder, measured=(0, 1, 2)):
    lines = []
    found = checkpoints.resume(folder, state(9.0), MASK, measured, lines.append)
    return found, lines


def test_tickets_come_back_as_they_were(saved):
    folder, tickets = saved
    found, lines = resume(folder)
    assert len(found) == 3 and lines == [f"going on after level 2 in {folder}"]
    for one, other in zip(found, tickets, strict=True):
        assert one.level == other.level
        jax.tree.map(np.testing.assert_array_equal, one.mask, other.mask)
        for part in ("start", "trained"):
            arrays = [trees.to_arrays(getattr(t, part)) for t in (one, other)]
            assert arrays[0].keys() == arrays[1].keys()
            for name, array in arrays[0].items():
                np.testing.assert_array_equal(array, arrays[1][name], name)


def test_only_measured_levels_count(saved):
    folder, _ = saved
    assert len(resume(folder, measured=(0, 2))[0]) == 1
    assert resume(folder, measured=()) == ([], [])


def test_a_damaged_level_ends_the_row(saved):
    folder, _ = saved
    path = folder / "level_01" / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:100])
    found, lines = resume(folder)
    assert len(found) == 1 and lines[0].startswith("damaged: ")
    with pytest.raises(runs.DamagedFile):
        checkpoints.read_level(folder, 1)


def test_parameters_by_themselves(saved):
    folder, tickets = saved
    found = checkpoints.read_params(folder, 2)
    jax.tree.map(np.testing.assert_array_equal, found, tickets[2].trained.params)
