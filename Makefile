# raysys: two commands do everything. `make demo` sets up and runs the whole chain on real data,
# `make test` sets up and passes all tests. `make help` lists the rest.

PYTHON ?= python3
VENV   ?= .venv
EXTRA  ?= cpu
ARGS   ?=
# Test files that run side by side, each in one process; 0 for one after the other, as pdb needs it.
NUM_AT_ONCE ?= 2
# A test process that dies ends the run: one that takes its place has been seen to wait for ever.
SIDE_BY_SIDE := --numprocesses $(NUM_AT_ONCE) --max-worker-restart 0 --dist loadfile

BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-$(EXTRA)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit soak check format bench-tfrs bench-tfrs-features bench-tfrs-sequential bench-quality bench-train bench-serve bench-overload bench-kills bench-switch bench-index bench-import bench-examples bench-tables bench-update bench-loop bench-learn bench-events constraints clean

help:  ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-21s %s\n", $$1, $$2}'

setup: $(READY)  ## make .venv with everything in it (EXTRA=gpu for faiss-gpu)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "raysys needs Python 3.11 or newer; name one with make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[$(EXTRA),postgresql,report,text]'
	@touch $@

demo: $(READY)  ## from MovieLens to a served answer (ARGS=--exit ends by itself)
	$(BIN)/raysys demo $(ARGS)

test: $(READY)  ## all tests
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --no-loadscope-reorder $(ARGS)

test-unit: $(READY)  ## the tests that start no Ray
	$(BIN)/python -m pytest tests/house tests/unit $(SIDE_BY_SIDE) --no-loadscope-reorder $(ARGS)

soak: $(READY)  ## twenty times as many examples of what holds for all of them; 20 kills under events
	$(BIN)/python -m pytest tests/unit tests/wiring/test_openapi_contract.py -m hypothesis --hypothesis-profile=soak $(SIDE_BY_SIDE) $(ARGS)
	$(BIN)/python benchmarks/event_kills.py

check: $(READY)  ## lint, spelling, types, and the rules of the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/house

format: $(READY)  ## let ruff put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-tfrs: $(READY)  ## two-tower against the TFRS retrieval tutorial; ends with one JSON line
	$(BIN)/python benchmarks/tfrs_retrieval.py $(ARGS)

bench-tfrs-sequential: $(READY)  ## a GRU on the TFRS sequential tutorial's examples; one JSON line
	$(BIN)/python benchmarks/tfrs_sequential.py $(ARGS)

bench-quality: $(READY)  ## every model on MovieLens-100K, leave-last-out; a JSON line per model
	$(BIN)/python benchmarks/quality.py $(ARGS)

bench-train: $(READY)  ## CPU seconds to a quality, rows/s through Ray; ends with one JSON line
	$(BIN)/python benchmarks/train.py $(ARGS)

bench-tfrs-features: $(READY)  ## two-tower with features under TFRS's protocol; ends with one JSON line
	$(BIN)/python benchmarks/tfrs_features.py $(ARGS)

bench-serve: $(READY)  ## served requests/s against an empty route; ends with one JSON line
	$(BIN)/python benchmarks/serve.py $(ARGS)

bench-overload: $(READY)  ## four times what a campaign may answer; ends with one JSON line
	$(BIN)/python benchmarks/overload.py $(ARGS)

bench-kills: $(READY)  ## each kind of replica is killed under load; ends with one JSON line
	$(BIN)/python benchmarks/kills.py $(ARGS)

bench-switch: $(READY)  ## another release is switched to under load; ends with one JSON line
	$(BIN)/python benchmarks/switch.py $(ARGS)

bench-index: $(READY)  ## approximate against exact search, memory of a shard; ends with one JSON line
	$(BIN)/python benchmarks/index.py $(ARGS)

bench-import: $(READY)  ## imported rows/s, memory, against pyarrow alone; ends with one JSON line
	$(BIN)/python benchmarks/import_log.py $(ARGS)

bench-examples: $(READY)  ## examples/s into the training loop, against memory; ends with one JSON line
	$(BIN)/python benchmarks/examples.py $(ARGS)

bench-loop: $(READY)  ## simulated worlds with exploration and without; ends with one JSON line
	$(BIN)/python benchmarks/loop.py $(ARGS)

bench-events: $(READY)  ## acknowledged events/s against plain inserts, the next answer; one JSON line
	$(BIN)/python benchmarks/events.py $(ARGS)

bench-learn: $(READY)  ## rounds of learning under steady load; ends with one JSON line
	$(BIN)/python benchmarks/learning.py $(ARGS)

bench-update: $(READY)  ## cost and quality of an update, against training anew; ends with one JSON line
	$(BIN)/python benchmarks/update.py $(ARGS)

bench-tables: $(READY)  ## CPU s of a step with 5 million rows against 50,000; ends with one JSON line
	$(BIN)/python benchmarks/large_tables.py $(ARGS)

constraints: $(READY)  ## pin the versions that are installed now
	@echo '# The versions that raysys is built and tested with. Made anew by `make constraints`.' > constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v '^faiss-gpu' >> constraints.txt

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
