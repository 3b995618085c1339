"""A Keras 3 model pruned, retrained, explained, drawn as a page, and written back."""

import jax
import keras
import optax
from keras import layers, losses

import sparsejax as sj

train, test = sj.data.digits()
keras.utils.set_random_seed(0)
h = layers.Conv2D(6, 3, strides=2, name="conv")(image := layers.Input((8, 8, 1)))
h = layers.Flatten()(layers.ReLU()(layers.BatchNormalization(name="norm")(h)))
h = layers.Dense(16, activation="relu", name="hidden")(h)
model = keras.Model(image, layers.Dense(10, name="digit")(h))
model.compile("adam", losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
model.fit(*train, epochs=30, verbose=0)
print(f"Keras: accuracy {model.evaluate(*test, verbose=0)[1]:.4f}")

params = {v.path: v.value for v in model.trainable_variables}
keys, rest = [*params], [v.value for v in model.non_trainable_variables]
fn = sj.named(lambda p, x: model.stateless_call([p[k] for k in keys], rest, x)[0])
apply, masks = sj.masked(fn), sj.masks.ones(fn, params, train.x)
how = dict(optimizer=optax.adam(3e-3), batch_size=32, epochs=30, key=jax.random.key(0))
for _ in range(4):  # the smallest quarter of the weights goes, the others train
    scores = sj.prune.magnitude(params)
    weights = sj.prune.remove(scores, masks.weights, 0.25, scope="global")
    masks = masks._replace(weights=weights)
    params = sj.train.fit(apply, params, masks, train, **how)[0].params
    accuracy = sj.train.evaluate(apply, params, masks, test)["accuracy"]
    print(f"{sj.masks.count(weights)} weights: accuracy {accuracy:.4f}")
params = sj.masks.apply(params, masks.weights)
one = lambda params, x: fn(params, x[None])[0]  # noqa: E731
r = sj.relevance.explain(one, params, test.x[0], target=test.y[0], baseline="zero")
print(f"logit {r.output:.2f}, pixels {r.input.sum():.2f}, lost {r.residual():.0e}")
graph = sj.flowgraph.trace(lambda x: one(params, x), test.x[0], image=(8, 8))
graph.save_html("keras_digits.html", samples=test.x[:8], labels=test.y[:8])
for v in model.trainable_variables:
    v.assign(params[v.path])
print(f"Keras again: accuracy {model.evaluate(*test, verbose=0)[1]:.4f}")
