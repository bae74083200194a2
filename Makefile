# One command each. Every target makes .venv if there is none.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: serve test check lint types imports docs bench clean

serve: $(READY)  ## run the gateway with the stand-in model
	$(BIN)/ostiary serve

# Side by side where a test needs nothing but itself; alone where it starts servers and waits.
test: $(READY)  ## run every test
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile tests/unit tests/meta
	$(BIN)/pytest -q tests/contract tests/integration

check: lint types imports test docs  ## what CI runs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -q -n -W -b html docs docs/_build

bench: $(READY)  ## overhead of the gateway against the engine alone
	$(BIN)/python -m benchmarks.overhead

# torch first and exactly: an unpinned torch pulls gigabytes of CUDA packages.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip==26.2
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e . --group dev
	touch $@

clean:
	rm -rf $(VENV) docs/_build
