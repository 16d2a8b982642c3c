# Needs Python >= 3.11, make and pip, nothing else. Everything installs into .venv beside this file.
#   make tour PYTHON=python3.12                                        another interpreter
#   make tour TORCH_INDEX=https://download.pytorch.org/whl/cpu         a torch without CUDA (smaller download)

PYTHON ?= python3
TORCH_INDEX ?=
EXTRAS := all,dev
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --constraint constraints.txt

# A virtual environment cannot move. PLACE says where it was made and by which interpreter, WANTED what it should hold.
# Without a stamp of this PLACE (never made, moved, or its installation was interrupted) .venv is made anew; with one
# that differs only in WANTED it is brought up to date.
PLACE := $(firstword $(shell { pwd -P; $(PYTHON) -c 'import sys; print(sys.executable, sys.version)'; } 2>&1 | cksum))
WANTED := $(firstword $(shell { cat pyproject.toml constraints.txt; echo '$(TORCH_INDEX)'; } | cksum))
STAMP := $(VENV)/.installed-$(PLACE)-$(WANTED)

.PHONY: help tour test lab wheel gpu lint clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile

tour: $(STAMP) ## run the notebooks in order, leave pages in runs/tour/index.html
	$(PY) -m molnb tour

test: $(STAMP) ## run the tests
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lab: $(STAMP) ## open JupyterLab on the notebooks; data/ and runs/ stay in this folder
	$(PY) -m molnb lab notebooks

wheel: $(STAMP) ## build a wheel with lessons and recipes, beside the versions it was tested with: dist/
	$(PY) -m hatchling build --target wheel
	cp constraints.txt dist

# Nothing is installed: only $(PYTHON) with torch, numpy, pyarrow and safetensors is needed.
GPU_OPTIONS = $(if $(DATA),--data '$(DATA)') $(if $(OUT),--out '$(OUT)') $(if $(ROWS),--rows $(ROWS)) \
  $(if $(SIZE),--size $(SIZE)) $(if $(DEVICE),--device $(DEVICE)) \
  $(if $(ATOMS),--atoms $(ATOMS)) $(if $(BATCH),--batch $(BATCH)) $(if $(STEPS),--steps $(STEPS)) \
  $(if $(REFERENCE),--reference '$(REFERENCE)') $(if $(CORE),--core '$(CORE)')

gpu: ## measure on one GPU in fifteen minutes what only a GPU tells (DATA=shards OUT=folder ROWS="agree sizes")
	@PYTHONPATH='$(CURDIR)'$${PYTHONPATH:+:$$PYTHONPATH} $(PYTHON) benchmarks/gpu.py $(GPU_OPTIONS)

lint: $(STAMP) ## check style, and that notebooks are stored without outputs
	$(PY) -m ruff check .
	$(PY) -m ruff format --check molnb tests benchmarks
	ls notebooks/*.ipynb notebooks/solutions/*.ipynb 2>/dev/null | xargs -r $(PY) -m nbstripout --verify

clean: ## remove the environment and caches; data/ and runs/ are kept
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "molnb needs Python 3.11 or newer; '$(PYTHON)' is not: make ... PYTHON=python3.11" >&2; exit 2; }
	@ls $(VENV)/.installed-$(PLACE)-* >/dev/null 2>&1 || { rm -rf $(VENV); \
	  $(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	    rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(PY) install pip; }; }
	@rm -f $(VENV)/.installed-*; rm -rf molnb.egg-info # of older installations: Python would read its list of extras
	$(PIP) torch $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX))
	$(PIP) --editable '.[$(EXTRAS)]'
	@$(PY) -m molnb setup-viewer || true
	@touch $@
