# `make book` builds the book, `make test` runs the tests; each sets everything up by itself.
# The same as plain commands: see README.md.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: book test test-reader test-colab browser chapters stamp format lint lint-web serve clean

book: $(READY)
	$(BIN)/python -m data_scripts.chapters
	$(BIN)/jupyter-book build . --all --path-output . -n -W --keep-going
	@echo "Built. Open $(CURDIR)/_build/html/index.html, or run: make serve"

test: $(READY)
	$(BIN)/pytest -n auto --maxprocesses=4 --ignore=tests/book/test_reader.py --ignore=tests/book/test_try.py \
		--ignore=tests/book/test_colab.py
	cd book && ../$(BIN)/pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
		-p no:cacheprovider --rootdir=. *.ipynb

test-reader: book browser ## the built book in a headless browser
	$(BIN)/pytest tests/book/test_reader.py tests/book/test_try.py

test-colab: $(READY) ## chapters alone, in a fresh environment like Colab's
	$(BIN)/pytest tests/book/test_colab.py

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

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory lint-web; \
	else echo "No npm here: the live page's JavaScript was not checked."; fi

lint-web: node_modules/.ready
	npm run --silent lint
	$(BIN)/python -m data_scripts.vendor_runtime --check

node_modules/.ready: package-lock.json
	npm ci --silent --ignore-scripts
	touch $@

serve: book
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $(READY)

clean:
	rm -rf _build build
