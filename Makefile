# Every target does its own set-up: a fresh clone needs Python >= 3.11 and nothing else.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# What is in $(VENV): the package alone, which is what the demo needs, or the tools of its developers too.
PLAIN := $(VENV)/.plain
DEVELOPER := $(VENV)/.developer

.PHONY: help install test checks fuzz demo demo-full bench evidence clean
help:
	@echo "make install | test | checks | fuzz | demo | demo-full | bench | evidence | clean   (each sets up $(VENV) if it is missing)"

define INSTALL
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "Python >= 3.11 is needed; '$(PYTHON)' is older. Use: make PYTHON=/path/to/python3.11 ..."; exit 2; }
test -x $(RUN) || $(PYTHON) -m venv $(VENV)
$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt
endef

$(PLAIN): pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(DEVELOPER): pyproject.toml constraints.txt
	$(INSTALL) -e ".[dev]"
	@touch $(PLAIN) $@

install: $(DEVELOPER)

test: $(DEVELOPER)
	$(RUN) -m pytest -n auto --maxprocesses 8 --dist worksteal

checks: $(DEVELOPER)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/guards

# Damaged and hostile files, so many of each kind.
CASES ?= 1000
fuzz: $(DEVELOPER)
	FUZZ_CASES=$(CASES) $(RUN) -m pytest -q tests/pipeline/test_fuzz.py tests/pipeline/test_fuzz_layouts.py

# Pretrain on Shapes, fine-tune a detector with and without those weights, and look at what it finds.
demo demo-full: export DATA_ROOT = runs/$@/data
demo: $(PLAIN)
	rm -rf runs/demo
	$(RUN) tools/pretrain.py --config configs/few_shapes_r18.yaml --out runs/demo/pretrain
	$(RUN) tools/transfer.py --config configs/few_shapes_frcnn_r18_fpn.yaml --weights runs/demo/pretrain/last.safetensors \
	  --seeds 1 --processes 2 --out runs/demo/transfer
	$(RUN) tools/predict.py runs/demo/data/few_shapes/coco/val --limit 12 --threshold 0.5 --out runs/demo/pictures \
	  --weights runs/demo/transfer/pretrained_seed0/last.safetensors
	$(RUN) tools/report.py runs/demo/transfer/pretrained_seed0 runs/demo/transfer/scratch_seed0 --resamples 200 \
	  --out runs/demo/report.html

# The same over three seeds, what freezing costs, and which blocks of the pretrained network matter.
demo-full: $(PLAIN)
	rm -rf runs/demo-full
	$(RUN) tools/pretrain.py --out runs/demo-full/pretrain
	$(RUN) tools/transfer.py --weights runs/demo-full/pretrain/last.safetensors --seeds 3 --processes 2 \
	  --out runs/demo-full/transfer
	$(RUN) tools/predict.py runs/demo-full/data/shapes/coco/val --limit 12 --threshold 0.3 --out runs/demo-full/pictures \
	  --weights runs/demo-full/transfer/pretrained_unfrozen_seed0/last.safetensors
	$(RUN) tools/analyze.py lesion --weights runs/demo-full/pretrain/last.safetensors --out runs/demo-full/analysis \
	  lesion.draws=10 lesion.drawn_pictures=200

# At most 15 minutes on two idle cores; docs/benchmarks.md says how its record becomes that page.
bench: $(DEVELOPER)
	$(RUN) tools/benchmark.py --out runs/benchmark.json

# What needs an NVIDIA GPU, in one sitting: tests, speed, Table 6 and pre-activation, all networks of a seed at once. Called again,
# trainings that were stopped go on; SEEDS=2 adds the second. A rehearsal: make evidence DEVICE=cpu KEYS="schedule.total_steps=4 ..."
DEVICE ?= cuda
SEEDS ?= 1
KEYS ?= run.cuda_graph=true run.compile=true run.precision=bf16
evidence: $(DEVELOPER)
	$(RUN) -m pytest -m gpu
	$(RUN) tools/benchmark.py cifar --device $(DEVICE)
	$(RUN) tools/reproduce.py --table 6 --seeds $(SEEDS) --together 9 --out runs/table6 run.device=$(DEVICE) $(KEYS) \
	  --rows resnet20 resnet32 resnet44 resnet56 resnet110 plain20 plain32 plain44 plain56
	$(RUN) tools/reproduce.py --table identity2 --seeds $(SEEDS) --together 2 --out runs/identity2 run.device=$(DEVICE) $(KEYS) \
	  --rows preact_resnet110 preact_resnet164

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
