PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PEERS := .venv/.peers

.PHONY: demo test test-all lint bench clean

demo: $(STAMP)  ## lottery tickets on handwritten digits, under three minutes
	$(BIN)/python launch/lottery_ticket.py --dataset=digits

test: $(STAMP)  ## everything but the slow checks
	$(BIN)/python -m pytest -q -n auto -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest -q -n auto

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(PEERS)  ## side by side with what people use today
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/mask_update.py

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	touch $@

clean:
	rm -rf .venv
