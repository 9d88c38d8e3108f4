# Two commands do everything on a machine with Python, Git and make:
#   make demo   build this repository's own models, serve them with Triton, ask each a question
#   make test   lint, types and the tests; `make slow` has the rest: kills, races, attacks, fuzzing, S3, the largest frameworks
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: demo test lint types tests slow fuzz compiled benchmarks clean

demo: $(VENV)/.demo
	@$(BIN)/python scripts/demo.py

test: lint types tests

lint: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .

types: $(VENV)/.dev
	$(BIN)/mypy

tests: compiled
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

slow: compiled
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

# Every parser, for so long each; SEED=N repeats a run.
SECONDS ?= 120
fuzz: compiled
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# The tests start gitreg some thousand times; where PYTHONDONTWRITEBYTECODE is set each would compile it again.
compiled: $(VENV)/.dev
	@$(BIN)/python -m compileall -q gitreg

benchmarks: $(VENV)/.dev
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

$(VENV)/.demo: pyproject.toml
	@echo "setting up $(VENV) for the demo (a minute or two, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "setting up $(VENV) for the tests (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) dist build
