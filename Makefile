# Every target does the set-up it needs; the environment is made again when pyproject.toml or constraints.txt change.
# Nothing but a POSIX shell and a Python is taken for granted: a name counts only if that Python runs and is new enough.
VENV ?= .venv
OLDEST := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for one in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	if "$$one" -c '$(OLDEST)' >/dev/null 2>&1; then echo "$$one"; break; fi; done)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := $(VENV)/.ready-demo
SET_UP = @if "$(PYTHON)" -c '$(OLDEST)' >/dev/null 2>&1; then exec "$(PYTHON)" set_up.py $(VENV) $(1); \
	elif uv --version >/dev/null 2>&1; then exec uv run -q --no-project --python '>=3.11' set_up.py $(VENV) $(1); \
	else echo "error: falsefloor needs Python 3.11 or newer, and there is $$(python3 --version 2>/dev/null || echo no python3)." \
	"Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 2; fi

.DEFAULT_GOAL := help
.PHONY: help demo test _read _run test-slow lint types imports docs clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(call SET_UP,dev)
$(DEMO): pyproject.toml constraints.txt
	$(call SET_UP)

demo: $(if $(wildcard $(READY)),$(READY),$(DEMO))  ## the note's counterexample, refuted live
	@$(BIN)/falsefloor demo

# One thread for each of the two workers: with torch's own two each, a fifth more processor time. What reads
# the code runs beside what runs it, in the time that the tests spend waiting for processes. Bytecode is
# written, whatever the environment says: the processes that tests start read what is compiled already. By
# worksteal one worker begins with the tests that wait (tests/conftest.py) and the other with those that compute.
test: $(READY)  ## lint, types, import contracts and tests (three to four minutes on two cores)
	@$(MAKE) --no-print-directory --jobs 2 _read _run

_read: lint types imports
_run: $(READY)
	@OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: $(READY)  ## what takes minutes, and random tests with examples that no test has drawn before
	$(BIN)/python -m pytest -q -m slow
	$(BIN)/python -m pytest -q --hypothesis-profile=explore $$(grep -rl 'from hypothesis' tests --include='test_*.py')

lint: $(READY)  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

imports: $(READY)  ## import contracts
	$(BIN)/lint-imports

docs: $(READY)  ## the documentation, into docs/_build
	$(BIN)/python -m sphinx -W -q docs docs/_build

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache docs/_build dist
