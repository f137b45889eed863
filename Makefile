# Two commands matter: `make demo` and `make test`. Both install what they lack into .venv, and nothing anywhere else
# but HAProxy builds and npm packages in ~/.cache/spoa-authz (see tests/haproxy_builds.py and tests/npm_packages.py).

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)

.PHONY: help venv demo test lint types unit coverage integration interop proofs bench bench-quick bench-revocation docs lock packages check-packages format clean

help:  ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one (Debian: apt-get install python3 python3-venv)."; exit 1; }
	@echo "Installing spoa-authz and its tools into $(VENV) with $(PYTHON) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m virtualenv -q $(VENV); } \
		|| { echo "This Python makes no virtual environments; on Debian: apt-get install python3-venv."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,dev,haproxy]'
	@touch $@

venv: $(VENV)/.installed  ## Install everything into .venv.

demo: venv  ## A real HAProxy, real certificates, every kind of answer. KEEP=1 leaves it running.
	@$(BIN)/python -m haproxy.demo $(if $(KEEP),--keep)

test: venv lint types unit coverage integration  ## All that must hold before anything is merged.

lint: venv
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet

types: venv
	@$(BIN)/mypy

unit: venv  ## Everything but HAProxy.
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m 'not integration' --cov --cov-report=

coverage: venv  ## Lines and branches that the last `make unit` left out; agents in processes of their own aren't counted.
	@$(BIN)/coverage report

integration: venv  ## The shipped configuration on real HAProxies, old engine and new.
	@$(BIN)/python tests/haproxy_builds.py 2.8 3.2
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m integration

interop: venv  ## The same on every HAProxy from 2.6 to 3.4.
	@$(BIN)/python tests/haproxy_builds.py 2.6 2.8 3.0 3.2 3.4
	@HAPROXY_VERSIONS=2.6,2.8,3.0,3.2,3.4 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m integration

proofs: venv  ## Ten thousand random pairs of policies, told apart by `diff` and by brute force. Half an hour.
	@SPOA_AUTHZ_DIFF_PAIRS=10000 $(BIN)/python -m pytest -q --timeout 0 tests/test_difference.py

bench: venv  ## Decisions a second and CPU a decision, of the agent as it runs.
	@$(BIN)/python benchmarks/agent.py

bench-quick: venv  ## The same in a minute or two.
	@$(BIN)/python benchmarks/agent.py --quick

bench-revocation: venv  ## What revocation lists of up to five million entries cost, replaced under load. QUICK=1 for less.
	@$(BIN)/python benchmarks/revocation.py $(if $(QUICK),--quick)

docs: venv  ## Write the generated parts of the reference, and the manual page, anew.
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m docs.manpage

$(VENV)/.packages: pyproject.toml | venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[packages]'
	@touch $@

lock: $(VENV)/.packages  ## Pin anew, with hashes, what is installed with the agent and what builds it. Asks PyPI.
	@$(BIN)/python -m deploy.lock

packages: $(VENV)/.packages  ## Wheel, sdist, SBOM, Debian package, image and chart into dist/. Ten minutes; needs root and Debian's tools.
	@$(BIN)/python -m deploy.packages

check-packages: $(VENV)/.packages  ## Install what `make packages` built on clean machines, and use it. Ten minutes; needs root.
	@$(BIN)/python -m pytest -q --no-cov --timeout 900 deploy/checks

format: venv
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

clean:  ## Remove what was built here; leaves the cache of HAProxy builds.
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* benchmarks/build
