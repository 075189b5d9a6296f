# Two commands for a fresh machine with Python 3.11 or later, make and a compiler:
#   make run    set up, then the demonstration and an import on the embedded store
#   make test   set up, then all checks and tests
#   make test EVERY=1 COVERAGE='--cov --cov-report=term'   each test on every kind of server, and the coverage of the
#                code, as in CI: two to three times as long
#   make test-pythons   the tests on each other Python from 3.11 on that this machine has
#   make adapters   the tests of the adapters on the newest release of each agent framework
#   make docs   the documentation site, strict about links: var/site/html/index.html
# Longer: make chaos (the fault tests), make chaos-mutants, make bench, make bench-scale.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := $(VENV)/bench
READY := $(VENV)/.ready
LOWEST := $(VENV)/lowest-redis-py
PYTHONS := $(VENV)/pythons
ADAPTERS := $(VENV)/adapters
NEWEST := $(VENV)/newest-frameworks
FRAMEWORKS := openai-agents,pydantic-ai,adk,agent-framework,llama-index
ADAPTER_FILES = $(shell find src/chat_session/adapters testkit/adapters tests/adapters examples/adapters benchmarks/adapters -name '*.py')
DOCS := $(VENV)/docs
STORE := sqlite:///var/run.db
CLI := $(BIN)/chat-session
WORKERS ?= 5
COVERAGE ?=
EVERY ?=

.DELETE_ON_ERROR:
.PHONY: run test check tests test-adapters adapters test-pythons docs server bench bench-scale chaos chaos-mutants clean

run: $(READY)
	@mkdir -p var
	$(CLI) demo
	$(CLI) import examples/sample.jsonl --user visitor --url $(STORE)
	$(CLI) count --url $(STORE)
	$(CLI) list visitor --url $(STORE)

test: $(READY) $(PYTHONS)/.ready server check tests test-adapters

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Five workers on two cores: most of a test's time is waiting for lifetimes and timeouts. The second
# run is on the lowest redis-py that is allowed; the first has the highest.
tests: $(READY)
	CHAT_SESSION_TEST_EVERY=$(EVERY) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(COVERAGE) --ignore=tests/adapters
	PYTHONPATH=$(LOWEST) CHAT_SESSION_TEST_STORE=redis $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	  tests/test_contract.py tests/test_manager.py tests/test_faults.py tests/test_fault_words.py

# The agent frameworks have hundreds of dependencies: an environment of their own.
test-adapters: $(ADAPTERS)/.ready server
	$(ADAPTERS)/bin/mypy $(ADAPTER_FILES)
	$(ADAPTERS)/bin/python -m pytest -n $(WORKERS) --dist worksteal tests/adapters

adapters: server
	$(PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(NEWEST)/bin/python -m pip install --quiet --editable '.[cli,metrics,$(FRAMEWORKS)]' --group dev
	$(NEWEST)/bin/python -m pip list | grep -iE '^(openai-agents|pydantic-ai-slim|google-adk|agent-framework-core|llama-index-core) '
	$(NEWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal tests/adapters

# The whole suite on each other Python of this machine, without coverage. `make test` has done what does not depend
# on the release of Python: the lints, the types, the lowest redis-py.
test-pythons: $(READY) $(PYTHONS)/.ready server
	@found=; tested=; failed=; \
	for python in $(PYTHONS)/3.*/bin/python; do [ ! -x $$python ] || found="$$found $$($$python -V | cut -d' ' -f2)"; done; \
	echo "Found besides $$($(BIN)/python -V):$${found:- no other Python from 3.11 on}"; \
	for python in $(PYTHONS)/3.*/bin/python; do \
	  [ -x $$python ] || continue; \
	  version=$$($$python -V | cut -d' ' -f2); \
	  echo "The tests on Python $$version:"; \
	  if $(BIN)/python -m pip --python $$python install --quiet --constraint constraints.txt --editable '.[cli,metrics]' --group dev \
	    && $$python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/adapters; \
	  then tested="$$tested $$version"; else failed="$$failed $$version"; fi; \
	done; \
	echo "The tests passed on:$${tested:- none}; failed on:$${failed:- none}"; \
	[ -z "$$failed" ]

# The server of Debian's packages, where this is root; else the tests that need it are skipped.
server:
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null; }; } || \
	  echo "no redis-server or valkey-server: tests that need one will be skipped"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV) || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cli,metrics]' --group dev
	$(BIN)/python -m pip install --quiet --no-deps --target $(LOWEST) --upgrade 'redis==6.4.0'
	@touch $@

$(ADAPTERS)/.ready: pyproject.toml constraints-adapters.txt
	$(PYTHON) -m venv $(ADAPTERS)
	$(ADAPTERS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(ADAPTERS)/bin/python -m pip install --quiet --constraint constraints-adapters.txt \
	  --editable '.[cli,metrics,$(FRAMEWORKS)]' --group dev
	@touch $@

# The other releases of Python on this machine: the tests of how a process exits run on each.
$(PYTHONS)/.ready: $(READY)
	$(BIN)/python testkit/pythons.py $(PYTHONS)
	@touch $@

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(DOCS)/bin/python -m pip install --quiet --constraint constraints.txt --editable . --group docs
	@touch $@

docs: $(DOCS)/.ready
	$(DOCS)/bin/python docs/site/build.py var/site

# The peers need an older redis-py than the tests: an environment of their own.
$(BENCH)/.ready: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BENCH)/bin/python -m pip install --quiet --editable . --group bench
	@touch $@

bench: $(BENCH)/.ready server
	$(BENCH)/bin/python -m benchmarks
	$(BENCH)/bin/python -m benchmarks.adapters
	$(BENCH)/bin/python -m benchmarks.desk
	$(BENCH)/bin/python -m benchmarks.feed

bench-scale: $(BENCH)/.ready server
	$(BENCH)/bin/python -m benchmarks scale

chaos: $(READY) server
	$(BIN)/python -m chaos
	CHAT_SESSION_ORDERS=2000 $(BIN)/python -m pytest -n $(WORKERS) tests/test_desk_model.py

# Does a test fail when the package is wrong? Five minutes; it writes docs/mutants.md.
chaos-mutants: $(READY) server
	$(BIN)/python -m chaos.mutants

clean:
	rm -rf $(VENV) var .pytest_cache .mypy_cache .ruff_cache .coverage
