# make demo [FILE=path]   install into .venv, then watch a file travel between two daemons
# make test               install what tests need, then style, types, import contracts and all tests
# make bench [SIZE=64M RUNS=2]   measure a transfer and the client's start, with a file of this size, this often
# make site               write the documentation as a site to site/
# make style types contracts tests clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SIZE ?=
RUNS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
METADATA := setup.cfg setup.py pyproject.toml protocol/version.py $(wildcard protocol/native/*)
SOURCES := $(shell find protocol p2pd p2pctl -name '*.py' -o -name '*.sql')

# Two stamps: what is needed to run, and (editable, so that it follows the sources by itself) what is needed to test.
RUN := $(VENV)/.installed
TEST := $(VENV)/.installed-for-tests

.PHONY: demo test style types contracts tests bench site clean

# With FILE=, a path of the caller; without, the demo makes a file.
demo: $(if $(wildcard $(TEST)),$(TEST),$(RUN))
	@$(BIN)/python scripts/demo $(if $(FILE),'$(subst ','\'',$(value FILE))')

test: style types contracts tests

style: $(TEST)
	$(BIN)/ruff check . scripts/demo
	$(BIN)/ruff format --check . scripts/demo

types: $(TEST)
	$(BIN)/mypy

contracts: $(TEST)
	$(BIN)/lint-imports --config setup.cfg

# Most of the time tests wait for processes, so two at a time take half as long; files stay whole, in their order. Paths are kept short,
# for those of sockets have a limit.
tests: $(TEST)
	@base=$$(mktemp -d) && { $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --basetemp="$$base/t"; status=$$?; rm -rf "$$base"; exit $$status; }

site: $(TEST)
	$(BIN)/mkdocs build --quiet

bench: $(TEST)
	$(BIN)/python bench/startup.py $(if $(RUNS),--rounds $(RUNS))
	$(BIN)/python bench/throughput.py $(if $(SIZE),--size $(SIZE)) $(if $(RUNS),--runs $(RUNS))

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find protocol p2pd p2pctl tests bench -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "This needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is needed (Debian, Ubuntu: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }

# What setuptools leaves in the tree is removed: a later build would pack old files from it.
$(RUN): $(METADATA) $(SOURCES) | $(BIN)/python
	@echo "Installing p2pd and p2pctl into $(VENV)"
	@$(PIP) install .
	@rm -rf build *.egg-info
	@touch $@

$(TEST): $(METADATA) | $(BIN)/python
	@echo "Installing p2pd, p2pctl and what their tests need into $(VENV)"
	@$(PIP) install --config-settings editable_mode=compat -e '.[test]'
	@rm -rf build *.egg-info
	@touch $@
