"""The guides to bring your own network, for libraries that tests do not depend on."""

import os
import sys

import jax
import pytest
import snippets

os.environ.setdefault("KERAS_BACKEND", "jax")
# Layers of these libraries mix dtypes, use keys twice, and warn of what is to come.
pytestmark = pytest.mark.filterwarnings("default")
RUN = "jax.vmap(lambda x: run(model, x))"


@pytest.fixture
def library(monkeypatch):
    """A function that skips a test where a library is not there."""

    def need(module):
        pytest.importorskip(module, reason="needs the extra 'zoo'")
        if module == "equimo" and sys.version_info < (3, 12):  # equimo 1
            models = pytest.importorskip("equimo.models")
            import equimo

            vision = type(sys)("equimo.vision")
            vision.models = models
            monkeypatch.setattr(equimo, "vision", vision, raising=False)
            monkeypatch.setitem(sys.modules, "equimo.vision", vision)
            monkeypatch.setitem(sys.modules, "equimo.vision.models", models)

    return need


@pytest.mark.parametrize(
    "title, module, guide, heading, x, own",
    [
        ("equimo", "equimo", "equinox_zoo", "equimo", "chw", f"{RUN}(chw)"),
        ("eqx-zoo", "eqx_zoo", "equinox_zoo", "eqx-zoo", "tokens", f"{RUN}(tokens)"),
        ("Haiku", "haiku", "haiku", "Your model", "x", "model.apply(params, x)"),
        ("Keras 3", "keras", "keras", "Your model", "x", "model(x)"),
    ],
)
def test_libraries(title, module, guide, heading, x, own, library):
    library(module)
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        snippets.check_library(title, guide, heading, x, own)


@pytest.mark.parametrize(
    "guide, module, headings",
    [
        ("equinox_zoo", "equimo", ["equimo", "Back into the model"]),
        ("equinox_zoo", "eqx_zoo", ["eqx-zoo", "Back into the model"]),
        ("haiku", "haiku", None),
        ("keras", "keras", None),
    ],
)
def test_guides_run(guide, module, headings, library):
    library(module)
    snippets.run_page(snippets.GUIDES / f"{guide}.md", headings)
