# Every target does its own set-up: a fresh clone needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV ?= .venv
INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/python

.PHONY: help install test checks fuzz demo bench clean
help:
	@echo "make install | test | checks | fuzz | demo | bench | clean   (each sets up $(VENV) if it is missing)"

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed; '$(PYTHON)' is older. Use: make PYTHON=/path/to/python3.11 ..."; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

install: $(INSTALLED)

test: $(INSTALLED)
	$(RUN) -m pytest -n auto --maxprocesses 8 --dist worksteal

checks: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/guards

# Damaged and hostile files, so many of each kind.
CASES ?= 1000
fuzz: $(INSTALLED)
	FUZZ_CASES=$(CASES) $(RUN) -m pytest -q tests/pipeline/test_fuzz.py tests/pipeline/test_fuzz_layouts.py

# Pretrain on Shapes, fine-tune with and without those weights over three seeds, look at pictures and blocks.
demo: export DATA_ROOT = runs/demo/data
demo: $(INSTALLED)
	rm -rf runs/demo
	$(RUN) tools/pretrain.py --out runs/demo/pretrain
	$(RUN) tools/transfer.py --config configs/shapes_frcnn_r18.yaml --weights runs/demo/pretrain/last.safetensors \
	  --seeds 3 --out runs/demo/transfer
	$(RUN) tools/predict.py runs/demo/data/shapes/coco/val --limit 12 --threshold 0.2 --out runs/demo/pictures \
	  --weights runs/demo/transfer/pretrained_seed0/last.safetensors
	$(RUN) tools/analyze.py lesion --weights runs/demo/pretrain/last.safetensors --out runs/demo/analysis \
	  lesion.draws=10 lesion.drawn_pictures=200

bench: $(INSTALLED)
	$(RUN) tools/benchmark.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
