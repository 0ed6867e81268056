# Everything runs from one virtual environment, made on first use: .venv/local has what `make run` needs,
# .venv/dev what the tests and checks need besides. The benchmarks have one of their own inside it, .venv/bench,
# because Celery wants a python-dateutil that nothing else does; so have the fuzzer, .venv/fuzz, because atheris
# can't be installed everywhere, and PyTorch, .venv/blip, because of its size.

PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
RUN := .venv/bin/python
BENCH := .venv/bench/bin/python
BLIP := .venv/blip/bin/python
FUZZ := .venv/fuzz/bin/python
FUZZ_SECONDS ?= 600
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test chaos blip bench fuzz check format lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: .venv/local ## Start everything in the foreground; Ctrl-C stops it
	@exec $(RUN) -m deploy.local

test: .venv/dev ## Run the whole test suite
	$(RUN) -m pytest --numprocesses auto --dist worksteal

chaos: .venv/dev ## Kill everything at random for minutes, and print how soon it recovers (CHAOS_SECONDS, CHAOS_JOBS, CHAOS_SEED)
	CHAOS_SECONDS=$${CHAOS_SECONDS:-180} CHAOS_JOBS=$${CHAOS_JOBS:-300} $(RUN) -m pytest --capture=no --verbose \
		tests/faults/test_chaos.py tests/faults/test_absence.py tests/faults/test_promptness.py

blip: .venv/blip/made ## Test captions by a local model; fetches some gigabytes of PyTorch first
	$(BLIP) -c 'import torch, transformers'
	$(BLIP) -m pytest tests/worker_service/test_blip_captions.py

bench: .venv/bench/made ## Measure against the usual parts and print the ratios; takes most of an hour
	$(BENCH) -m bench

fuzz: .venv/fuzz/made ## Fuzz the decoding of images for FUZZ_SECONDS, 600 unless given (Linux on x86-64)
	$(FUZZ) -m tests.fuzz $(FUZZ_SECONDS)

check: .venv/dev ## Lint, check formatting, types, spelling and the architecture
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(RUN) -m codespell_lib
	$(RUN) -m pytest --quiet tests/test_architecture.py

format: .venv/dev ## Format the code and sort its imports
	$(RUN) -m ruff check --select I --fix
	$(RUN) -m ruff format

lock: .venv/dev ## Resolve requirements/ again, keeping versions that still fit (LOCK=--upgrade renews them)
	$(call compile,dev)
	$(call compile,api,--constraint requirements/dev.txt)
	$(call compile,worker,--constraint requirements/dev.txt)
	$(call compile,dashboard,--constraint requirements/dev.txt)
	$(call compile,local,--constraint requirements/dev.txt)
	$(call compile,blip,--constraint requirements/dev.txt)
	$(call compile,bench)
	$(call compile,fuzz,--constraint requirements/dev.txt)

compile = $(RUN) -m uv pip compile pyproject.toml --extra $(1) $(2) --output-file requirements/$(1).txt \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links --universal --python-version 3.11 \
	--no-config --no-annotate --quiet $(LOCK)

.venv/dev: requirements/dev.txt | .venv/made
	@echo 'Installing what the tests and checks need ...'
	@$(PIP) --requirement requirements/dev.txt
	@touch .venv/dev .venv/local

.venv/blip/made: requirements/dev.txt requirements/blip.txt | .venv/made
	@echo 'Installing PyTorch and Transformers ...'
	@$(RUN) -m venv .venv/blip
	@$(subst $(RUN),$(BLIP),$(PIP)) --requirement requirements/dev.txt
	@$(subst $(RUN),$(BLIP),$(PIP)) --requirement requirements/blip.txt
	@touch .venv/blip/made

.venv/bench/made: requirements/bench.txt | .venv/made
	@echo 'Installing what the benchmarks need ...'
	@$(RUN) -m venv .venv/bench
	@$(subst $(RUN),$(BENCH),$(PIP)) --requirement requirements/bench.txt
	@touch .venv/bench/made

.venv/fuzz/made: requirements/fuzz.txt | .venv/made
	@echo 'Installing what the fuzzer needs ...'
	@$(RUN) -m venv .venv/fuzz
	@$(subst $(RUN),$(FUZZ),$(PIP)) --requirement requirements/fuzz.txt
	@touch .venv/fuzz/made

.venv/local: requirements/local.txt | .venv/made
	@echo 'Installing what Darkroom needs ...'
	@$(PIP) --requirement requirements/local.txt
	@touch .venv/local

.venv/made:
	@test -n '$(PYTHON)' || { echo 'Darkroom needs Python 3.11 or newer: install it, or name it by make PYTHON=...' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is older than Python 3.11.")'
	@'$(PYTHON)' -m venv .venv || { echo 'Is the venv module there? Debian has it in python3-venv.' >&2; exit 1; }
	@touch .venv/made
