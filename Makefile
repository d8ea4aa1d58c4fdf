# Everything runs in .venv, which the first command makes. Nothing else has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 0
TABLES ?=
RESULTS ?= build/results

.PHONY: help demo test check format notebook docs tables pages gallery test-all test-lowest test-peers mutants release bench clean

help:
	@echo "make demo      install, train on a swiss roll, and say what to open and what to type next"
	@echo "make test      lint, types, import directions and the tests that are neither slow nor simulations"
	@echo "make test-all  all tests, and the suite with the oldest and newest dependencies; it writes tests/full_run.json, and"
	@echo "               goes on where it was ended"
	@echo "make check     lint, types and import directions alone"
	@echo "make format    let ruff rewrite the code"
	@echo "make notebook  docs/tutorial.ipynb from docs/tutorial.py, and JupyterLab to open it with"
	@echo "make docs      the site, in build/site: warnings and broken links are errors; notebooks that were run are kept"
	@echo "make tables    the tables of README.md and the docs, from benchmarks/results/*.json"
	@echo "make pages     the pages of the labs alone, in build/pages"
	@echo "make gallery   the pictures of docs/gallery, from their scripts"
	@echo "make test-lowest  the suite with the oldest supported dependencies alone"
	@echo "make release   the wheel and the sdist, of sources that passed make test-all, after the site, the changelog and"
	@echo "               the workflows are checked"
	@echo "make test-peers  the samplers against those of diffusers (in .venv-bench)"
	@echo "make mutants   the share of 300 random mutants of the source that the quick tests notice: hours"
	@echo "make bench     the benchmarks, against PyTorch (in .venv-bench), with their results in build/results, or in"
	@echo "               RESULTS=FOLDER; with TABLES=FOLDER also the protocol of tables, on NAME-train.parquet and"
	@echo "               NAME-test.parquet of that folder (see benchmarks/tables_protocol.py)"

.PHONY: venv venv-test
venv:
	@sh scripts/make_venv.sh "$(PYTHON)" $(VENV) .demo "-e .[tables,explore]" "motes.cli.figures,motes.cli.run,sklearn.neighbors,pandas,pyarrow,motes.explorer"

venv-test:
	@sh scripts/make_venv.sh "$(PYTHON)" $(VENV) .test "-e .[test]" "motes.cli.figures,motes.cli.run,sklearn.neighbors,motes.explorer,pytest,xdist"

demo: venv
	@$(BIN)/motes demo --overwrite --seed $(SEED)
	@echo "After '. $(BIN)/activate' you can type 'motes' alone, in any folder."

check: venv-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	@command -v chromium >/dev/null || echo "The page of the explorer is not tested here. To test it: apt-get install chromium"
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long and not slow"

format: venv-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebook:
	@sh scripts/make_venv.sh "$(PYTHON)" $(VENV) .notebook "-e .[notebook]" "motes.cli.run,jupytext,ipykernel,jupyterlab"
	@$(BIN)/jupytext --quiet --to notebook --output docs/tutorial.ipynb docs/tutorial.py
	@echo "Open it with: $(BIN)/jupyter lab docs/tutorial.ipynb"

SITE := sphinx,myst_nb,pydata_sphinx_theme,latex2mathml,ipykernel,pandas,towncrier,check_jsonschema
docs:
	@sh scripts/make_venv.sh "$(PYTHON)" $(VENV) .site "-e .[release]" "motes.cli.run,$(SITE)"
	@mkdir -p build/site/_static # without it, a build that fails leaves a file of this name, and so the next one fails
	@$(BIN)/python scripts/lab_pages.py build/site/course/pages
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/site
	@echo "the site is in build/site: open build/site/index.html"

tables: venv-test
	$(BIN)/python scripts/tables.py

pages: venv-test
	@$(BIN)/python scripts/lab_pages.py build/pages
	@echo "the pages are in build/pages: open build/pages/lab01.html"

gallery: venv-test
	@$(BIN)/python scripts/gallery.py

test-all: check docs
	$(BIN)/python scripts/full_run.py $(BIN)/uv

test-lowest: venv-test
	$(BIN)/python scripts/full_run.py $(BIN)/uv oldest

release: venv-test docs
	@$(BIN)/python scripts/full_run.py --check
	$(BIN)/python scripts/tables.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/towncrier build --draft --version next >/dev/null
	$(BIN)/uv build -q

test-peers:
	@sh scripts/make_venv.sh "$(PYTHON)" .venv-bench .bench "-e .[peers]" "motes.cli.figures,motes.cli.run,torch,diffusers,flow_matching,zuko,statsmodels,plotnine,ForestDiffusion,xgboost,sdmetrics,syntheval,synthpop,pytest"
	.venv-bench/bin/python -m pytest -W ignore tests/peers/test_diffusers.py

BENCHMARKS := tutorial_speed metrics_speed default_recipe samplers million likelihood heldout averages passes tables \
              tables_likelihood tables_scale conditions tables_forest
bench:
	@sh scripts/make_venv.sh "$(PYTHON)" .venv-bench .bench "-e .[peers]" "motes.cli.figures,motes.cli.run,torch,diffusers,flow_matching,zuko,statsmodels,plotnine,ForestDiffusion,xgboost,sdmetrics,syntheval,synthpop,pytest"
	@mkdir -p $(RESULTS)
	for name in $(BENCHMARKS); do .venv-bench/bin/python benchmarks/$$name.py --out $(RESULTS)/$$name.json || exit 1; done
	$(if $(TABLES),.venv-bench/bin/python benchmarks/tables_protocol.py "$(TABLES)" --out $(RESULTS)/tables_protocol.json,@echo "without TABLES=FOLDER: no tables_protocol.py")

clean:
	rm -rf $(VENV) .venv-* .cache build dist runs

mutants:
	@sh scripts/make_venv.sh "$(PYTHON)" .venv-mutants .mutants "-e .[mutants]" "motes.cli.run,cosmic_ray,coverage,pytest"
	.venv-mutants/bin/python benchmarks/mutants.py
