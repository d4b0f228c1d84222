# The handbook's commands. `make` alone lists them; each makes the environment first if it is missing or out of date.

PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/made-from-requirements

.DEFAULT_GOAL := help
.PHONY: help env run test check book learner lab sync lint types bench claims

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(ENVIRONMENT) ## Make the environment in .venv from requirements.txt

run: $(ENVIRONMENT) ## Walk the whole road at the miniature scale, then build the website
	$(BIN)/zephyr run --scale miniature
	$(BIN)/python tools/build_book.py

test: $(ENVIRONMENT) ## Run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests

check: $(ENVIRONMENT) ## Open every page of the built website in a browser (after make run or make book)
	ZEPHYR_SITE=required $(BIN)/python -m pytest tests/site

book: $(ENVIRONMENT) ## Build the website from the last run
	$(BIN)/python tools/build_book.py

learner: $(ENVIRONMENT) ## Write copies to practise with, no answers in them, into build/learner
	$(BIN)/python tools/learner.py

lab: $(ENVIRONMENT) ## Open the chapters in JupyterLab
	$(BIN)/jupyter lab notebooks

sync: $(ENVIRONMENT) ## Write notebooks/*.ipynb from notebooks/*.py
	$(BIN)/python tools/sync.py

lint: types $(ENVIRONMENT) ## Check types, style and spelling; of the chapters the .ipynb, since ruff reads no %pip in a .py
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(ENVIRONMENT) ## Check the package's type annotations
	$(BIN)/mypy

bench: $(ENVIRONMENT) ## Print where the time of the last run went, chapter by chapter
	$(BIN)/python benchmarks/chapters.py

claims: $(ENVIRONMENT) ## Train over several seeds and measure what the README claims (long)
	$(BIN)/python benchmarks/claims.py

# --no-build-isolation: setuptools is among the requirements, so nothing is fetched a second time.
$(ENVIRONMENT): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "The handbook needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making the environment in .venv; the first time this fetches about 1 GB."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
