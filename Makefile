# Two commands, each works first: `make quick` and `make test`. Both create .venv themselves.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
READY := $(VENV)/.ready-$(shell cksum requirements.txt pyproject.toml | cksum | cut -d' ' -f1)

BOARD := quick ucf11_features ucf101_vgg16_14 cnn_lstm

.PHONY: environment quick published board test tiny lint docs bench audit-dependencies clean

environment: $(READY)  ## .venv and nothing else

quick: $(READY)  ## three small tasks, every method -> results/quick/report.html
	$(BIN)/snakemake --cores $(CORES) --configfile config/quick.yaml
	@echo "open results/quick/report.html"

published: $(READY)  ## the same with ten seeds and at four sizes, which can carry verdicts -> results/published/report.html
	$(BIN)/snakemake --cores $(CORES) --configfile config/quick.yaml --config name=published \
		'seeds=[0,1,2,3,4,5,6,7,8,9]' 'ratios=[3,10,30,100]'
	@echo "open results/published/report.html"

board: docs  ## published results and results/submissions/*.zip -> site/board/index.html, beside the documentation
	for name in $(BOARD); do $(BIN)/squeezebench submit results/reference/$$name --as squeezebench \
		--without-models --unfinished --to results/submissions || exit 1; done
	$(BIN)/squeezebench board results/submissions/*.zip --to site/board
	@echo "open site/board/index.html"

test: $(READY) lint  ## the whole test suite, on two cores: the third worker uses them while others wait
	$(BIN)/python -m pytest -n 3 --dist loadfile

tiny: $(READY)  ## every experiment of config/paper on synthetic clips
	$(BIN)/python -m pytest -n 2 -m tiny --durations 20 --durations-min 1

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(READY)  ## the documentation -> site/index.html; installs Sphinx the first time
	$(BIN)/python -c 'import furo, myst_parser, sphinx' 2>/dev/null || $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --constraint requirements.txt --no-build-isolation --editable '.[docs]'
	$(BIN)/python -m docs.generator site

bench: $(READY)  ## every benchmark in short form, then one table with targets and verdicts; wants a quiet machine
	$(BIN)/python -m benchmarks.summary --run

audit-dependencies:  ## known vulnerabilities of the pinned packages; asks PyPI's service, so it needs the network
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/audit/bin/python -m pip_audit --strict --no-deps --disable-pip --progress-spinner off -r requirements.txt

$(READY):
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "squeezebench needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.ready-* && touch $@

clean:
	rm -rf $(VENV) results/quick results/smoke site
