"""Every public function that takes a key refuses what is none, in the same words."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax
from sparsejax import (
    circuits,
    data,
    dissect,
    features,
    hypercube,
    masks,
    models,
    prune,
    relevance,
    rl,
    train,
)
from sparsejax.data import _planted as planted
from sparsejax.data import _splits as splits
from sparsejax.data import _toys as toys
from sparsejax.data import augmentations
from sparsejax.models import _resnets as resnets
from sparsejax.rl import cartpole, dqn, rollout

X, P, ONES = np.ones(3, "f4"), np.ones((3, 2), "f4"), jnp.ones(4)
IMAGES = splits.Split(np.zeros((8, 28, 28, 1), "f4"), np.zeros(8, np.int32))
DATA = np.ones((4, 3), "f4"), np.zeros(4, np.int32)


def linear(params, x):
    return x @ params


def masked(params, masks, x):
    return x @ params


def total(m):
    return m.sum()


CONFIG = dqn.Config(widths=(2,))
CART = rl.environments.load("CartPole-v0")
STATE = train.init(P, optax.sgd(0.1), jax.random.key(0))


def heads(masks):
    return masks["h"].sum()


def fit(**keys):
    return train.fit(
    masked, P, masks.Masks(P, {}), DATA, optimizer=optax.sgd(0.1), batch_size=2,
    steps=0, **keys,
)  # fmt: skip


NODES = {"h": jnp.ones(2)}
TABLE = {
    "circuits.controls.controls": lambda key: circuits.controls(linear, P, X, key=key),
    "circuits.controls.nonsense": lambda key: circuits.nonsense(key, P, np.arange(3)),
    "circuits.hitting.hitting_set": lambda key: circuits.hitting_set(any, 2, key=key),
    "circuits.report.report": lambda key: circuits.report(
        heads, {0}, nodes=NODES, key=key
    ),
    **{
        f"circuits.learned.{name}": lambda key, name=name: getattr(circuits, name)(
            heads, NODES, key=key, repeats=1, steps=1
        )
        for name in ("hard_concrete", "straight_through", "ugs")
    },
    "data.augmentations.variations": lambda key: augmentations.variations(
        augmentations.noise(), key, jnp.ones(3), 2
    ),
    "data.planted.plant": lambda key: planted.plant(key, IMAGES),
    "data.scenes.scenes": lambda key: data.scenes(key, 1),
    "data.textures.textures": lambda key: data.textures(key),
    "data.toys.circle": lambda key: toys.circle(key, 3),
    "data.toys.spiral": lambda key: toys.spiral(key, 3),
    "dissect.rotation.rotation": lambda key: dissect.rotation(key, 3),
    "features.render.render": lambda key: features.render(
        linear, P, features.logit(), None, key=key, size=3, steps=1, progress=False
    ),
    "hypercube.estimate.estimate_mean": lambda key: hypercube.estimate_mean(
        total, 2, 0.5, key=key, samples=4, progress=False
    ),
    "hypercube.estimate.estimate_shapley": lambda key: hypercube.estimate_shapley(
        total, 2, key=key, permutations=2, progress=False
    ),
    "masks.samplers.bernoulli": lambda key: masks.bernoulli(key, ONES, 0.5),
    "masks.samplers.fixed_size": lambda key: masks.fixed_size(key, ONES, 2),
    "masks.samplers.flip_path": lambda key: masks.flip_path(key, 3),
    "models.resnets.init": lambda key: resnets.init(key, 8, 2, (1, 1, 1), 1),
    "prune.lottery.shuffle": lambda key: prune.shuffle(key, ONES),
    "prune.scores.random": lambda key: prune.random(key, ONES),
    "prune.spade.spade": lambda key: prune.spade(
        linear, P, X, key=key, density=0.5, samples=2
    ),
    "relevance.averages.expected_gradients": lambda key: relevance.expected_gradients(
        linear, P, X, DATA[0], key=key, target=0, samples=4
    ),
    "relevance.averages.smoothgrad": lambda key: relevance.smoothgrad(
        linear, P, X, key=key, target=0, samples=2
    ),
    "relevance.randomization.randomization_check": lambda key: (
        relevance.randomization_check(
            lambda params: X @ params["a"], {"a": P}, key, layers=["a"]
        )
    ),
    "rl.agent.init": lambda key: dqn.init(CONFIG, key),
    "rl.cartpole.reset": lambda key: cartpole.reset(key),
    "rl.rollout.returns": lambda key: rollout.returns(CART, lambda seen: 1, key, 1),
    "rl.rollout.returns_within": lambda key: rollout.returns_within(
        CART, lambda seen: 1, key, 1, [1]
    ),
    "train.fitting.fit": lambda key: fit(key=key),
    "train.states.init": lambda key: train.init(P, optax.sgd(0.1), key),
    # What functions return, and keys of another name.
    "train.fitting.fit data_key": lambda key: fit(
        key=jax.random.key(0), **{"data_key": key}
    ),
    "rl.dqn.make_train": lambda key: dqn.make_train(CONFIG)(key),
    **{
        f"{kind}.{method}": call
        for kind, model in {
            "models.mlp": models.mlp((2,), 2),
            "models.resnet": models.resnet(8, widths=(1, 1, 1)),
        }.items()
        for method, call in {
            "init": lambda key, model=model: model.init(key, jnp.ones((8, 8, 1))),
            "train_apply": lambda key, model=model: model.train_apply(
                model.init(jax.random.key(0), jnp.ones((8, 8, 1))),
                jnp.ones((8, 8, 1)),
                key=key,
            ),
        }.items()
    },
    **{
        f"features.{name}": lambda key, made=made: made.init(key, (4, 2), jnp.float32)
        for name, made in {
            "pixels": features.pixels(), "fourier": features.fourier()
        }.items()
    },
    "features.warp": lambda key: features.warp(features.jitter(1))(key, ONES[:, None]),
}  # fmt: skip


def modules():
    for module in pkgutil.walk_packages(sparsejax.__path__, "sparsejax."):
        if not module.name.startswith(("sparsejax.experiments", "sparsejax.plots")):
            yield importlib.import_module(module.name)


def public():
    """All public functions, jitted ones too, that take a random key."""
    for module in modules():
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "") == module.__name__
            if name.startswith("_") or not own or inspect.isclass(value):
                continue
            if callable(value) and "key" in inspect.signature(value).parameters:
                full = f"{module.__name__}.{name}".removeprefix("sparsejax.")
                yield full.replace("._", ".")


def test_no_function_is_forgotten():
    inside = {"checks.key", "features.ascent.start", "features.ascent.step"}
    inside |= {"train.calls.outputs", "train.examples.order"}
    inside |= {"circuits.compared.samplings"}
    assert set(public()) - inside <= TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_what_is_no_key_is_refused_in_the_same_words(name):
    for key, said in {
        "old": (jax.random.PRNGKey(0), ", not jax.random.PRNGKey"),
        "number": (0, ", got the int 0"),
        "none": (None, ", got None"),
    }.values():
        if key is None and "data_key" in name:  # that is its default
            continue
        with pytest.raises(ValueError) as caught:
            TABLE[name](key)
        named = "data_key" if "data_key" in name else "key"
        assert str(caught.value) == f"{named} must come from jax.random.key{said}"
