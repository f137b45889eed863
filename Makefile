# Two commands matter: `make demo` and `make test`. Both install what they lack into .venv, and nothing anywhere else
# but HAProxy builds and npm packages in ~/.cache/spoa-authz (see tests/haproxy_builds.py and tests/npm_packages.py).

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# Each process takes the next file, in the order of tests/conftest.py.
FILE_BY_FILE := --dist loadfile --no-loadscope-reorder
# The first Python that is new enough.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)

# Where the environment forbids Python to keep what it compiled, each of some thousand processes would compile all anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv demo test lint types unit coverage compiled compiled-test integration interop proofs bench bench-quick bench-revocation docs format clean faults reloads soak soak-day monitoring console fuzz differential lock packages check-packages docs-test site

help:  ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; install one (Debian: apt-get install python3 python3-venv)."; exit 1; }
	@echo "Installing spoa-authz and its tools into $(VENV) with $(PYTHON) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); $(PYTHON) -m virtualenv -q $(VENV); } \
		|| { echo "This Python makes no virtual environments; on Debian: apt-get install python3-venv."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,otel,dev,haproxy,bench]'
	@touch $@

venv: $(VENV)/.installed  ## Install everything into .venv.

demo: venv  ## A real HAProxy, real certificates, every kind of answer. KEEP=1 leaves it running.
	@$(BIN)/python -m haproxy.demo $(if $(KEEP),--keep)

test: venv lint types unit coverage compiled-test integration  ## All that must hold before anything is merged.

lint: venv
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet

types: venv
	@$(BIN)/mypy

unit: venv  ## Everything but HAProxy.
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -q -n $(JOBS) $(FILE_BY_FILE) -m 'not integration and not browser and not monitoring and not compiled' --cov --cov-report=

coverage: venv  ## Lines and branches that the last `make unit` left out; agents in processes of their own aren't counted.
	@$(BIN)/coverage report

# What is compiled can't be told from what isn't by any test of what it does.
COMPILED := build/compiled
COMPILED_TESTS := tests/spop tests/policy/test_evaluator.py tests/policy/test_gates.py tests/policy/test_holding.py tests/policy/test_path.py \
	tests/policy/test_pivots.py tests/policy/test_properties.py tests/policy/test_table.py tests/policy/test_text.py \
	tests/revocation/test_crl.py tests/revocation/test_crl_index.py \
	tests/test_acceptor.py tests/test_adapter.py tests/test_agent.py tests/test_answering.py tests/test_answering_recall.py \
	tests/test_assurance.py tests/test_authorizer.py tests/test_blocks.py tests/test_bundle.py tests/test_cache.py tests/test_counts.py tests/test_cutting.py \
	tests/test_decision_log.py tests/test_histogram.py tests/test_hotpath.py tests/test_identity.py tests/test_issuers.py \
	tests/test_listindex.py tests/test_logline.py tests/test_peer.py tests/test_plaincertificate.py tests/test_plainparts.py \
	tests/test_recall.py tests/test_recall_described.py tests/test_remembered.py \
	tests/test_signatures.py tests/test_turn.py tests/test_turn_afresh.py tests/test_unlisted.py

compiled: venv  ## A copy of this tree in build/compiled whose hot path is compiled to C.
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	@cp -r pyproject.toml README.md CHANGELOG.md LICENSE spoa policies haproxy docs tests benchmarks $(COMPILED)
	@flags=$$($(BIN)/python -c 'from deploy.compiled import CFLAGS; print(CFLAGS)') && \
		cd $(COMPILED) && find . -name '*.so' -delete && CFLAGS="$$flags" \
		HATCH_BUILD_HOOK_ENABLE_MYPYC=true $(CURDIR)/$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-build-isolation --no-deps -w dist .
	@ls $(COMPILED)/dist/*.whl

compiled-test: compiled  ## The tests of the hot path, over what was compiled.
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -c 'import spoa.recall; assert spoa.recall.__file__.endswith(".so"), spoa.recall.__file__'
	@cd $(COMPILED) && $(CURDIR)/$(BIN)/python -m pytest -q -n $(JOBS) $(FILE_BY_FILE) -m 'not interpreted and not integration' $(COMPILED_TESTS)

integration: venv  ## The shipped configuration on real HAProxies, old engine and new.
	@$(BIN)/python tests/haproxy_builds.py 2.8 3.2
	@$(BIN)/python -m pytest -q -n $(JOBS) $(FILE_BY_FILE) -m integration

interop: venv  ## The same on every HAProxy from 2.6 to 3.4.
	@$(BIN)/python tests/haproxy_builds.py 2.6 2.8 3.0 3.2 3.4
	@HAPROXY_VERSIONS=2.6,2.8,3.0,3.2,3.4 UPGRADE_ROUNDS=5 $(BIN)/python -m pytest -q -n $(JOBS) $(FILE_BY_FILE) -m integration

faults: venv  ## Whatever can go wrong, each under load: a table of wrong allows (none) and times to recover. An hour.
	@rm -f .faults.jsonl
	@$(BIN)/python tests/haproxy_builds.py 2.8 3.2
	@SPOA_AUTHZ_FAULTS=full SPOA_AUTHZ_FAULTS_REPORT=.faults.jsonl $(BIN)/python -m pytest -q --timeout 600 tests/integration/faults

RELOADS ?= 1000
reloads: venv  ## 1,000 policies one after the other under load, or RELOADS=200. A quarter of an hour.
	@SPOA_AUTHZ_FAULTS=full SPOA_AUTHZ_FAULTS_RELOADS=$(RELOADS) $(BIN)/python -m pytest -q -s --timeout 7200 tests/integration/faults/test_reloads.py

MILLIONS ?= 20
soak: venv  ## Memory over 20 million decisions on 100,000 certificates and paths, or MILLIONS=4. Half an hour when it's quiet.
	@SPOA_AUTHZ_SOAK_MILLIONS=$(MILLIONS) SPOA_AUTHZ_SOAK_TREE=$(TREE) $(BIN)/python -m pytest -q -s --timeout 0 tests/integration/faults/test_memory.py

HOURS ?= 24
soak-day: venv  ## Clients that break off and dawdle, for HOURS=24: descriptors, threads and memory stay what they were.
	@SPOA_AUTHZ_SOAK_HOURS=$(HOURS) $(BIN)/python -m pytest -q -s --timeout 0 tests/conformance/test_soak.py

monitoring: venv  ## Cause each alert on real agents, and have a real Prometheus notice. Three minutes.
	@$(BIN)/python -m pytest -q -m monitoring

console: site  ## Drive the console, with hostile names, and the site in a headless Chromium from Debian. A minute.
	@$(BIN)/python -m pytest -q -m browser

proofs: venv  ## Ten thousand random pairs of policies, told apart by `diff` and by brute force. Half an hour.
	@SPOA_AUTHZ_DIFF_PAIRS=10000 $(BIN)/python -m pytest -q --timeout 0 tests/test_difference.py

fuzz: venv  ## Every reader under coverage-guided fuzzing, SECONDS=60 each; TARGET=name for one.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@nice $(BIN)/python -m tests.fuzz.guided $(if $(TARGET),$(TARGET),--all) --seconds $(or $(SECONDS),60)

differential: venv  ## 50,000 paths, 5,000 pieces of evidence, 5,200 policies, judged by us and others; SEED=n for other ones.
	@$(BIN)/python tests/haproxy_builds.py 2.6 2.8 3.0 3.2 3.4
	@HAPROXY_VERSIONS=2.6,2.8,3.0,3.2,3.4 SPOA_AUTHZ_DIFFERENTIAL_PATHS=50000 SPOA_AUTHZ_DIFFERENTIAL_EVIDENCE=5000 \
		SPOA_AUTHZ_DIFFERENTIAL_POLICIES=5200 SPOA_AUTHZ_DIFFERENTIAL_SEED=$(or $(SEED),1) \
		$(BIN)/python -m pytest -q --timeout 0 tests/differential

$(COMPILED)/.built: pyproject.toml deploy/compiled.py $(shell find spoa -name '*.py') | venv
	@$(MAKE) --no-print-directory compiled
	@touch $@

# Another copy of the agent can be measured, the one that isn't compiled for instance: make bench TREE=.
bench: $(COMPILED)/.built  ## The compiled agent beside its targets, and behind real HAProxies. Half an hour on a quiet machine.
	@$(BIN)/python benchmarks/agent.py --tree $(or $(TREE),$(COMPILED))
	@$(BIN)/python benchmarks/spoe.py

bench-quick: $(COMPILED)/.built  ## The same, smaller, in less than three minutes once the agent is compiled.
	@$(BIN)/python benchmarks/agent.py --quick --tree $(or $(TREE),$(COMPILED))

bench-revocation: venv  ## What revocation lists of up to five million entries cost, replaced under load. QUICK=1 for less.
	@$(BIN)/python benchmarks/revocation.py $(if $(QUICK),--quick)

docs: venv  ## Write the generated parts of the reference, and the manual page, anew.
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m docs.manpage

$(VENV)/.docs: pyproject.toml | venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

docs-test: venv  ## Follow the tutorial and play all pages, as `make test` does among much else. Two minutes.
	@$(BIN)/python tests/haproxy_builds.py 2.8
	@$(BIN)/python -m pytest -q --no-cov -n $(JOBS) $(FILE_BY_FILE) tests/test_docs.py tests/test_examples.py tests/test_site.py

site: $(VENV)/.docs  ## The documentation with search, in build/site; each link and anchor must lead somewhere.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@$(BIN)/python -m docs.sitecheck build/site

$(VENV)/.packages: pyproject.toml | venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[packages]'
	@touch $@

lock: $(VENV)/.packages  ## Pin anew, with hashes, what is installed with the agent and what builds it. Asks PyPI.
	@$(BIN)/python -m deploy.lock

packages: $(VENV)/.packages  ## Wheels, sdist, SBOM, Debian package, image and chart into dist/. A quarter of an hour; needs root and Debian's tools.
	@$(BIN)/python -m deploy.packages

check-packages: $(VENV)/.packages  ## Install what `make packages` built on clean machines, and use it. Ten minutes; needs root.
	@$(BIN)/python -m pytest -q --no-cov --timeout 900 deploy/checks

format: venv
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

clean:  ## Remove what was built here; leaves the cache of HAProxy builds.
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .faults.jsonl benchmarks/build
