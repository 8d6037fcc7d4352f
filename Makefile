# The project's doors. Each does the set-up that it needs; nothing has to be installed or activated first.
#
#   CONVEYOR_TFX=1.16|1.21   the TFX line, in place of the one that fits this machine
#   LINE=taxi                the line that `make run` runs
#   ARGS=...                 further arguments for run, test, test-all and the benches
#   JOBS=2                   processes that run tests side by side (0: none but pytest's own)

PYTHON ?= python3
LINE ?= taxi
ARGS ?=
JOBS ?= 2
# A file stays on one process, so that what its tests share is made once.
# In the order of collection: by default the files with the fewest tests come last, which here are the longest ones.
PYTEST := python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

IN_ENV := $(PYTHON) conveyor/bootstrap.py --
PACKAGES := schema data serving components pipeline monitoring conveyor

.DEFAULT_GOAL := help
.PHONY: help run test test-all bench bench-serving lint format lock env doctor clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

run: ## Run a line, from its data to a pushed model (LINE=taxi)
	@$(IN_ENV) conveyor run $(LINE) $(ARGS)

test: ## Run the tests that are quick enough for every change
	@$(IN_ENV) $(PYTEST) -m "not slow" $(ARGS)

test-all: ## Run every test
	@$(IN_ENV) $(PYTEST) $(ARGS)

bench: ## Measure runs, and print tables of medians
	@$(IN_ENV) python -m benchmarks $(ARGS)

bench-serving: ## Load the servers, and print tables of medians
	@$(IN_ENV) python -m benchmarks.serving $(ARGS)

lint: ## Check style, types and the direction of imports
	@$(IN_ENV) ruff check .
	@$(IN_ENV) ruff format --check .
	@$(IN_ENV) mypy
	@$(IN_ENV) lint-imports

format: ## Mend what ruff can mend by itself
	@$(IN_ENV) ruff check --fix .
	@$(IN_ENV) ruff format .

lock: ## Resolve requirements/*.in anew into the hash-locked files (ARGS=--upgrade for newer versions)
	@uv="$$($(PYTHON) conveyor/bootstrap.py --uv)" && sh requirements/lock.sh "$$uv" $(ARGS)

env: ## Make the environment, and do nothing else
	@$(PYTHON) conveyor/bootstrap.py

doctor: ## Say whether this machine can run Conveyor, and what to do about each problem
	@$(PYTHON) conveyor/doctor.py

clean: ## Remove caches and build output (environments and the state of lines stay)
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
