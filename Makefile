# make lth      train, prune, rewind and retrain a real and a quaternion network on the digits
# make test     lint, types, tests and lessons
# make help     the other targets
SHELL  := bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install lth test lint types bench lessons docs package clean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made once and again only when pyproject.toml changes.
$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"quatgrad needs Python >= 3.11, this is {v.major}.{v.minor}: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing quatgrad and its tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

install: $(VENV)/installed  ## make the environment .venv

lth: install     ## the main job, on embedded data: ARGS="--levels 3" passes options on
	@$(BIN)/python experiments/lth.py $(ARGS)

test: lint types install  ## lint, types, tests and lessons
	@$(BIN)/python -m pytest -n auto $(ARGS)

lint: install    ## ruff: lint and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install   ## mypy
	@$(BIN)/mypy

bench: install   ## measure the kernels: ARGS=--quick for a minute's run
	@$(BIN)/python experiments/bench.py $(ARGS)

lessons: install ## run every lesson, blank and solved, and write its notebook
	@$(BIN)/python lessons/run.py $(ARGS)

docs: install    ## the documentation site, into site/
	@$(BIN)/python -c "import furo, latex2mathml, myst_nb" 2> /dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[docs]"
	@rm -rf site build/docs
	@$(BIN)/python -m sphinx --quiet -W --keep-going -n -j auto docs build/docs/site
	@mv build/docs/site site
	@$(BIN)/python docs/site_links.py site

lite: install    ## build/lite/site: lessons 0 to 7 for a browser, without a server
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lite]'
	@$(BIN)/python lessons/lite.py

package: install ## build sdist and wheel, and try the wheel in a new environment
	@.ci/package $(BIN)/python

clean:           ## remove the environment, caches and builds (runs/ stays)
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
