# Every target sets up .venv by itself with nothing but Python >= 3.11 and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-long soundness fuzz test-duckdb2 check bench bench-logs serve screenshots lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Rewrite slow TPC-DS queries on an embedded Postgres and write out/demo.html
	@$(BIN)/python -m tpc demo --html out/demo.html

test: $(STAMP) ## Run the fast tests
	@$(PYTEST) -n 2 -m "not slow and not long"

test-all: $(STAMP) ## Run the slow tests too
	@$(PYTEST) -n 2 -m "not long"

test-long: $(STAMP) ## Run the tests that are too long for CI: faults, workers, days of a browser
	@$(PYTEST) -n 2 -m long

soundness: $(STAMP) ## Hammer every rule with 2,000 combinations of query and database (half an hour)
	@REWRITER_SOUNDNESS=$${REWRITER_SOUNDNESS:-2000} $(PYTEST) -n 2 -o timeout=1800 tests/rules/soundness

fuzz: $(STAMP) ## Fuzz the API against its description (an hour; REWRITER_FUZZ: examples for each route)
	@REWRITER_FUZZ=$${REWRITER_FUZZ:-300} $(PYTEST) -o timeout=7200 tests/security/test_fuzz.py

test-duckdb2: ## Run the engine tests with DuckDB 2.0 in a virtual environment of its own
	@$(PYTHON) -m venv .venv-duckdb2
	@.venv-duckdb2/bin/python -m pip install --quiet --disable-pip-version-check -e ".[postgres,dev]" "duckdb>=2.0,<2.1"
	@.venv-duckdb2/bin/python -m pytest -p no:cacheprovider tests/engines -m "not slow"

check: $(STAMP) ## Lint, formatting, types, import direction
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

bench: $(STAMP) ## Run TPC-DS at scale 1 on the embedded Postgres (about an hour)
	@$(BIN)/python -m tpc load --suite ds --scale 1
	@$(BIN)/python -m tpc run --suite ds --scale 1 --peer sqlglot --out out/tpcds_1.json --html out/tpcds_1.html

bench-logs: $(STAMP) ## Read generated logs of each format: lines a second and memory (some minutes)
	@$(BIN)/python -m tpc logs --out out/logs.json

serve: $(STAMP) ## Serve API and console on port 8000 (REWRITER_TARGET names the database; else a small TPC-DS)
	@if [ -z "$$REWRITER_TARGET" ]; then $(BIN)/python -m tpc load --suite ds --scale 0.1; fi
	@REWRITER_TARGET="$${REWRITER_TARGET:-embedded:?dbname=tpcds_0_1}" $(BIN)/python -m rewriter serve --port 8000

screenshots: $(STAMP) ## Photograph every page of the console into out/shots (needs Debian's chromium)
	@$(BIN)/python -m tests.console.shots --out out/shots

# Not learn: torch from the index brings gigabytes for graphics cards, and only training needs it.
LOCKED := postgres tpc console cluster dev
lock: ## Make requirements.lock anew (needs uv)
	@uv pip compile pyproject.toml $(addprefix --extra ,$(LOCKED)) --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet -o requirements.lock

clean: ## Remove what the targets made
	@rm -rf $(VENV) .venv-duckdb2 out build *.egg-info
