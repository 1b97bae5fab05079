# Each target sets up what it needs by itself. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WHEEL := dist/.built

.PHONY: help book test test-thorough test-reader test-colab browser chapters stamp format lint \
	typecheck lint-web wheel gpu pdf serve clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(READY) $(WHEEL) ## build the book, strictly; its site carries the library's wheel
	$(BIN)/python -m data_scripts.chapters
	$(BIN)/jupyter-book build . --all --path-output . -n -W --keep-going
	@echo "Built. Open $(CURDIR)/_build/html/index.html, or run: make serve"

pdf: book browser ## print the whole book into _build/dsd-book.pdf
	$(BIN)/python -m data_scripts.make_pdf

serve: book ## build the book and serve it at http://127.0.0.1:8000
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

test: $(READY) ## doctests, unit tests and every chapter run again
	$(BIN)/pytest -n auto

test-thorough: $(READY) ## property tests with 1,000 examples each, all tests in three random orders
	for seed in 1 2 3; do \
		$(BIN)/pytest -n auto --hypothesis-profile=thorough --random-order-bucket=module \
			--random-order-seed=$$seed tests dsd_lib || exit; \
	done

test-reader: book browser ## the built book in a headless browser
	$(BIN)/pytest -m reader tests/book

test-colab: $(READY) ## each chapter alone, in a fresh environment like Colab's
	$(BIN)/pytest -m colab tests/book

browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; \
	else echo "No Chromium here; install it (Debian: apt install chromium) for the browser tests."; fi

chapters: $(READY) ## run every chapter, store its outputs, write the status page
	$(BIN)/python -m data_scripts.execute_chapters
	$(BIN)/python -m data_scripts.make_status

stamp: $(READY) ## write the repository's address from pyproject.toml into the book
	$(BIN)/python -m data_scripts.stamp

format: $(READY) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) typecheck ## format, style, types and the live page's JavaScript
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-web; \
	else echo "No npm here: the live page's JavaScript was not checked."; fi

typecheck: $(READY)
	$(BIN)/mypy

lint-web: node_modules/.ready
	npm run --silent lint
	$(BIN)/python -m data_scripts.vendor_runtime --check

node_modules/.ready: package-lock.json
	npm ci --silent --ignore-scripts
	touch $@

wheel: $(READY) ## sdist and wheel, checked, installed and tested outside the repository
	$(BIN)/python -m data_scripts.make_wheel

gpu: $(READY) ## everything that wants a CUDA GPU, resumable; DRY=1 only lists it
	$(BIN)/python -m data_scripts.run_on_gpu $(if $(DRY),--dry-run)

$(WHEEL): $(READY) pyproject.toml $(shell find dsd_lib book/results -type f -not -name "*.pyc")
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	touch $@

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $(READY)

clean: ## remove what was built
	rm -rf _build build dist
