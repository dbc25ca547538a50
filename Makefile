# `make demo` and `make test` do all their own set-up. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast lint format check-native clean

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || echo 2)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

NATIVE := CMakeLists.txt $(shell find csrc -name '*.[ch]pp' -o -name '*.txt' 2>/dev/null)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED)  ## environment, dependencies and native build

demo: $(INSTALLED)  ## the main job on real-shaped data, ending in a report (DATA=path: MovieLens-100K or Criteo TSV)
	@$(BIN)/python examples/demo/run.py $(if $(DATA),--data "$(DATA)")

test: $(INSTALLED)  ## every test, the slow ones included
	@$(BIN)/python -m pytest

test-fast: $(INSTALLED)  ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow"

lint: $(INSTALLED)  ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## rewrite the Python files as `make lint` wants them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check-native: $(INSTALLED)  ## native tests under sanitizers, for each instruction set
	PATH="$(abspath $(BIN)):$$PATH" csrc/check_native.sh

clean:  ## remove everything that make made
	rm -rf $(VENV) build build-* demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src -name '*.so' -delete

# cmake and ninja come from the environment too, so that an old or absent system cmake does not matter.
$(VENV)/.created:
	@python=$$(scripts/prerequisites) && echo "environment: $(VENV), from $$python" && "$$python" -m venv --clear $(VENV)
	@$(BIN)/pip install -q -c constraints.txt pip scikit-build-core nanobind cmake ninja
	@touch $@

$(INSTALLED): $(VENV)/.created pyproject.toml constraints.txt $(NATIVE)
	@echo "installing recsmith and what it needs (a few minutes the first time)"
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install -q --no-build-isolation -c constraints.txt -e '.[all]'
	@touch $@
