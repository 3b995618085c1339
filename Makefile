PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ZOO := $(addprefix tests/peers/test_peer_,models.py own_model.py keras_digits.py analyses.py)
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test test-slow test-defaults test-all test-zoo lint docs notebooks bench
.PHONY: bench-device clean

demo: $(VENV)/.installed  ## lottery tickets on handwritten digits, and the last one to look at
	$(BIN)/python launch/lottery.py --dataset=digits

test: $(VENV)/.installed  ## everything but the slow checks
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow" -rs

test-slow: $(VENV)/.installed  ## the slow checks alone
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m slow -rs

test-defaults: $(VENV)/.installed  ## every analysis against its oracle, compiled as users have it
	SPARSEJAX_XLA_DEFAULTS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m defaults -rs

test-all: $(VENV)/.installed  ## everything
	$(BIN)/python -m pytest -q -n auto --dist loadfile -rs

test-zoo: $(VENV)/.zoo  ## unmodified models of Keras, Haiku, equimo and eqx-zoo
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n0 $(ZOO) -rs

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(VENV)/.docs  ## the documentation site, in dist/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

notebooks: $(VENV)/.notebooks  ## every notebook from top to bottom; a cell that fails is an error
	$(BIN)/python docs/notebooks/run.py

bench: $(VENV)/.peers  ## side by side with what people use today, one table
	$(BIN)/python benchmarks/table.py

bench-device: $(VENV)/.installed  ## what is at hand, CPU, GPU or TPU: items a second, share of the roofline
	$(BIN)/python benchmarks/device.py

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) '.[test]'
	touch $@

$(VENV)/.peers: $(VENV)/.installed
	$(INSTALL) '.[peers]'
	touch $@

$(VENV)/.zoo: $(VENV)/.installed
	$(INSTALL) '.[zoo]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(INSTALL) '.[docs]'
	touch $@

$(VENV)/.notebooks: $(VENV)/.installed
	$(INSTALL) '.[notebooks]'
	touch $@

clean:
	rm -rf $(VENV)
