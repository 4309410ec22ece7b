# Stagewright: `make help` lists what there is. Every target sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SERVERS ?= hete_files/test_server.txt
ARGS ?=
TORCH ?= torch==2.13.0
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

.DEFAULT_GOAL := help
PLAN ?= out/plan.json
OUT ?= out/package
NAME ?= Partitioned
ARCH ?= partitioned

.PHONY: help plan compare emit minkowski profiles test check bench reality docs clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16
	@echo
	@echo '  PLAN=FILE OUT=DIR   what make emit reads and writes (now: $(PLAN), $(OUT))'
	@echo '  SERVERS=FILE   server file or cluster.yaml (now: $(SERVERS))'
	@echo '  ARGS="…"       more options, e.g. ARGS="-b 1e9 -o out" (see .venv/bin/stagewright plan --help)'

plan: $(VENV)/.plan ## Plan the network of SERVERS on its GPUs, with proof
	@$(BIN)/stagewright plan $(SERVERS) $(ARGS)

compare: $(VENV)/.plan ## Set all planners side by side, and cross-check the exact ones
	@$(BIN)/stagewright compare $(SERVERS) --check $(ARGS)

emit: $(VENV)/.plan ## Write the stages of PLAN as PyTorch modules into OUT
	@$(BIN)/stagewright emit $(PLAN) -o $(OUT) -n $(NAME) -a $(ARCH) $(ARGS)

minkowski: $(VENV)/.torch ## Build MinkowskiEngine once, into your cache, and install it
	@$(BIN)/python scripts/minkowski.py $(ARGS)

profiles: $(VENV)/.minkowski ## Measure the sample profiles anew on this CPU (minutes), and carry them over to GPUs
	@$(BIN)/python -m stagewright.scenarios.sample_profiles -o hete_files/profiles $(ARGS)

test: $(VENV)/.test $(VENV)/.minkowski ## Run all tests
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.check ## Lint, types, import contracts, and docs against the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m stagewright.cli.reference --check docs/cli.md

bench: $(VENV)/.plan ## Set cpsat against the sample clusters: period, bound, gap, seconds
	@$(BIN)/stagewright bench $(ARGS)

reality: $(VENV)/.plan $(VENV)/.minkowski ## Run plans on two cores of this machine: predicted beside measured
	@$(BIN)/python -m stagewright.scenarios.reality $(ARGS)

docs: $(VENV)/.check ## Write docs/cli.md again from the code
	$(BIN)/python -m stagewright.cli.reference docs/cli.md

clean: ## Remove the virtual environment and everything made
	rm -rf $(VENV) build dist out .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Stagewright needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# One marker a level: what `plan` needs is light, the rest is added when it is asked for.
$(VENV)/.plan: setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Setting up (a virtual environment in $(VENV)) …' >&2
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.torch: $(VENV)/.plan
	@echo 'Installing torch …' >&2
	@$(PIP) install $(TORCH)
	@touch $@

# Without a compiler or BLAS (exit code 2) the tests that need MinkowskiEngine are skipped, with a reason.
$(VENV)/.minkowski: $(VENV)/.torch scripts/minkowski.py scripts/minkowski_source.py
	@$(BIN)/python scripts/minkowski.py && touch $@ || [ $$? -eq 2 ]

$(VENV)/.test: $(VENV)/.plan $(VENV)/.torch
	@echo 'Installing what the tests need …' >&2
	@$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	@echo 'Installing what the checks need …' >&2
	@$(PIP) install --editable '.[check]'
	@touch $@
