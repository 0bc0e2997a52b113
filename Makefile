# Every target makes the virtual environment .venv first if it is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread per process: the tests start many small processes.
TEST_ENV := OMP_NUM_THREADS=1 WANDB_MODE=offline
# A process for each core; the tests of a file stay together, since they share what was trained for them.
PARALLEL := -n auto --dist loadfile

.PHONY: help
help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

$(BIN)/maskexp: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "maskexp needs Python 3.11 or newer; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

.PHONY: install
install: $(BIN)/maskexp  ## make the virtual environment and install maskexp for development

.PHONY: demo
demo: install  ## train AIM on the embedded drawn birds, test it, leave the images in runs/demo
	@if [ -e runs/demo ]; then echo 'runs/demo holds an earlier demo; delete it to run another' >&2; exit 1; fi
	$(BIN)/maskexp fit --config experiments/quickstart.yaml --run_dir runs/demo

.PHONY: test
test: install  ## run all tests
	$(TEST_ENV) $(BIN)/python -m pytest $(PARALLEL)

.PHONY: test-fast
test-fast: install  ## run the tests that take seconds
	$(TEST_ENV) $(BIN)/python -m pytest $(PARALLEL) -m "not slow"

.PHONY: test-slurm
test-slurm: install  ## run a study on a SLURM of one node that is set up for it (root, Debian packages), or say why not
	$(TEST_ENV) MASKEXP_TEST_SLURM=1 $(BIN)/python -m pytest -rsA --no-header -W ignore tests/slurm

.PHONY: fuzz
fuzz: install  ## try 10 000 mutated inputs and 1 000 command lines (half an hour)
	$(TEST_ENV) $(BIN)/python -m tests.fuzz --inputs 10000 --arguments 1000 --seed 0

$(BIN)/mkdocs: $(BIN)/maskexp
	$(BIN)/pip install --quiet '.[docs]'
	@touch $@

.PHONY: docs
docs: $(BIN)/mkdocs  ## build the documentation into site/, every warning an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

.PHONY: coverage
coverage: install  ## run the fast tests and show which lines they do not reach
	$(TEST_ENV) $(BIN)/python -m pytest $(PARALLEL) -m "not slow" --cov=maskexp --cov-report=term:skip-covered --cov-report=xml

.PHONY: check
check: install  ## format, lint, types and the floors of the house, without changing anything
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: install  ## format and repair what can be repaired
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: clean
clean:  ## remove the virtual environment and caches; runs are kept
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache site coverage.xml *.egg-info
