"""The page "Bring your own model", for libraries that tests do not depend on."""

import os
import sys

import jax
import pytest
import snippets

os.environ.setdefault("KERAS_BACKEND", "jax")
# Layers of these libraries mix dtypes, use keys twice, and warn of what is to come.
pytestmark = pytest.mark.filterwarnings("default")
RUN = "jax.vmap(lambda x: run(model, x))"


@pytest.mark.parametrize(
    "heading, module, x, own",
    [
        ("equimo", "equimo", "chw", f"{RUN}(chw)"),
        ("eqx-zoo", "eqx_zoo", "tokens", f"{RUN}(tokens)"),
        ("Haiku", "haiku", "x", "model.apply(params, x)"),
        ("Keras 3", "keras", "x", "model(x)"),
    ],
)
def test_libraries(heading, module, x, own, monkeypatch):
    pytest.importorskip(module, reason="needs the extra 'zoo'")
    if module == "equimo" and sys.version_info < (3, 12):  # equimo 1, as the page says
        models = pytest.importorskip("equimo.models")
        import equimo

        vision = type(sys)("equimo.vision")
        vision.models = models
        monkeypatch.setattr(equimo, "vision", vision, raising=False)
        monkeypatch.setitem(sys.modules, "equimo.vision", vision)
        monkeypatch.setitem(sys.modules, "equimo.vision.models", models)
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        snippets.check_library(heading, x, own)
