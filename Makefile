# Python 3.11 or newer and make are all that this needs. `make` shows what there is.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test check fmt bench mutants

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.service ## Serve from ./capsvc-data, which the first run makes (ARGS="--port 9000" adds options)
	@echo "In another terminal, before the first command there: . $(BIN)/activate"
	@exec $(BIN)/capsvc serve $(ARGS)

test: .venv/.tools ## Run the tests (ARGS="-k revoke" narrows them)
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: .venv/.tools ## Check format, lint, types, directions of imports, and that every public name is documented
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_public.py

fmt: .venv/.tools ## Format, and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.tools ## Measure against peers, one table with bounds (ROWS="again worst" narrows it, ARGS=--json)
	$(BIN)/python -m tests.benchmarks $(ROWS) $(ARGS)

mutants: .venv/.tools ## Break the program in small ways and see that a test notices (ARGS="caveats/paths.py" narrows it)
	$(BIN)/python -m tests.mutants $(ARGS)

# The pip that comes with a Python may be older than dependency groups.
.venv/.service: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "capsvc needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.tools: .venv/.service
	$(BIN)/python -m pip install --quiet --group test --group check --group bench
	@touch $@
