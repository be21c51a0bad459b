# The course's commands. Each one first makes the environment it runs in, and only when that is missing or out of date.
#
# An active virtual or conda environment is used; otherwise .venv is made. Conda's base environment is left alone.

SHELL := /bin/sh
ROLE ?= student
PYTHON ?=

ifneq ($(VIRTUAL_ENV),)
ENVIRONMENT := $(VIRTUAL_ENV)
else ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
ENVIRONMENT := $(CONDA_PREFIX)
else
ENVIRONMENT := .venv
endif

PY := $(ENVIRONMENT)/bin/python
DLCOURSE := $(PY) -m dlcourse_utils.instructor.cli
# conda has solved for its own versions; pip would put others over them
CONSTRAINTS := $(if $(wildcard $(ENVIRONMENT)/conda-meta),,-c constraints.txt)

# The stamp names the checkout that is installed: with another one's in it, install again.
STAMP := $(ENVIRONMENT)/.dlcourse-installed
ifneq ($(shell cat '$(STAMP)' 2>/dev/null),$(CURDIR))
.PHONY: $(STAMP)
endif

# tests/conftest.py says what stays together and what starts first
PARALLEL := -n 2 --no-loadscope-reorder

export OMP_NUM_THREADS ?= 1
# nbgrader calls alembic from the PATH when it makes a gradebook
export PATH := $(if $(filter .venv,$(ENVIRONMENT)),$(CURDIR)/.venv,$(ENVIRONMENT))/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test proof oldest lab build check

help:
	@echo 'make demo                 play a class of students through the whole grading loop'
	@echo 'make test                 run the test suite'
	@echo 'make proof                run what the test suite leaves out: every seed, every mutant; the report goes to build/proof'
	@echo 'make oldest               try the named answers of all lectures with the oldest versions that pyproject.toml allows, in .venv-oldest'
	@echo 'make lab                  open JupyterLab as a student (ROLE=instructor: as the instructor)'
	@echo 'make build                build notebooks/ and solutions/ from the sources'
	@echo 'make check                lint, types, and whether what is committed is what the sources build'
	@echo
	@echo 'Each makes its environment first, in .venv unless one is active. PYTHON=... names the Python to make it with.'

demo: $(STAMP)
	@$(DLCOURSE) build --no-solutions
	@$(DLCOURSE) demo

test: $(STAMP)
	@$(PY) -m pytest $(PARALLEL)

proof: $(STAMP)
	@$(PY) -m pytest $(PARALLEL) -m proof
	@$(DLCOURSE) cases --thorough --fair --mutants --constants --report build/proof --json build/proof/verdicts.json

oldest: $(PY)
	@$(PY) -m venv .venv-oldest
	@echo 'Installing into .venv-oldest (about 6 GB with PyTorch on Linux, a few minutes the first time)'
	@.venv-oldest/bin/python -m pip install --disable-pip-version-check --editable '.[dev]' -c constraints-oldest.txt
	@PATH="$(CURDIR)/.venv-oldest/bin:$$PATH" .venv-oldest/bin/python -m dlcourse_utils.instructor.cli cases

lab: $(STAMP)
	@$(DLCOURSE) lab --role $(ROLE)

build: $(STAMP)
	@$(DLCOURSE) build

check: $(STAMP)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(DLCOURSE) lint
	@$(DLCOURSE) build --check

$(PY):
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(ENVIRONMENT) with $$("$$python" --version)"; \
			exec "$$python" -m venv '$(ENVIRONMENT)'; \
		fi; \
	done; \
	echo 'No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1

$(STAMP): pyproject.toml constraints.txt | $(PY)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(ENVIRONMENT) holds a Python older than 3.11. Deactivate it, or make it anew.' >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip
	@echo 'Installing into $(ENVIRONMENT) (about 6 GB with PyTorch on Linux, a few minutes the first time)'
	@$(PY) -m pip install --disable-pip-version-check --editable '.[dev]' $(CONSTRAINTS)
	@printf '%s' '$(CURDIR)' > '$(STAMP)'
