# make demo         speech in, a talking face out: build/demo.mp4, with a table of how fast it was
# make test         style, types, unit tests, then tests on the real server
# make test-export  the tests of training and export, which need torch (make test leaves them out)
# make gate         builds the networks with TensorRT-RTX (180 MB, NVIDIA's licence) for GPUs that are not there
# make bench-smoke  real time, latency and memory of this machine against the targets: perf/results/
# make clean        forget what was built and fetched; your avatars, voices and ratings in build/ stay
#
# All of it runs on Linux x86-64 with Python 3.10 to 3.13 and neither a GPU nor Docker; `facestream doctor` tells what
# a machine lacks. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
AVATAR ?= $(basename $(notdir $(firstword $(sort $(wildcard model_repository/avatar_store/avatars/*.avatar)))))

STAGES := $(patsubst %/model.py,%,$(wildcard model_repository/*/1/model.py))

BIN := $(VENV)/bin
SERVING := $(VENV)/.serving
TESTING := $(VENV)/.testing
EXPORTING := $(VENV)/.exporting
GATING := $(VENV)/.gating

.PHONY: demo test test-export gate bench-smoke clean
.DEFAULT_GOAL := demo

demo: $(SERVING)
	@test -n "$(AVATAR)" || { echo "no avatar in model_repository/avatar_store/avatars" >&2; exit 1; }
	@mkdir -p build
	$(BIN)/facestream render tests/data/speech.wav --avatar $(AVATAR) --output build/demo.mp4 --serve

test: $(TESTING)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy client export perf tests
	@# Each stage is a program of its own, with modules beside its model.py.
	@for stage in $(STAGES); do MYPYPATH=$$stage $(BIN)/mypy $$stage/*.py || exit 1; done
	$(BIN)/python -m pytest tests/unit
	$(BIN)/python -m pytest tests/integration

test-export: $(EXPORTING)
	$(BIN)/python -m pytest $$(grep -rl --include='*.py' 'importorskip("torch"' tests)

gate: $(GATING)
	$(BIN)/python -m export.precision --no-lint
	$(BIN)/python -m export.gate --install
	$(BIN)/python -m pytest tests/unit/test_gate.py

bench-smoke: $(SERVING)
	$(BIN)/python -m perf.bench_smoke

# The stamps below make a second `make` start at once, and a changed pyproject.toml install anew.

$(BIN)/python3:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || \
	{ echo "$(PYTHON) is not Python 3.10 to 3.13: name one that is, as in make PYTHON=python3.12" >&2; exit 1; }
	@# Without python3-venv it is there and lacks pip: left in place, it would never be made anew.
	@$(PYTHON) -m venv $(VENV) || { rm -f $@; echo "on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(SERVING): pyproject.toml | $(BIN)/python3
	@echo "installing what serving needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,tts]'
	@touch $@

$(TESTING): pyproject.toml | $(BIN)/python3
	@echo "installing what the tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,tts,dev]'
	@touch $@ $(SERVING)

$(EXPORTING): $(TESTING)
	@echo "installing torch and what else the export's tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[export]'
	@touch $@

$(GATING): $(TESTING)
	@echo "installing TensorRT-RTX and what types the networks into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[gate,precision]'
	@touch $@

# docker-compose.yml and perf/rating keep in build/ what nobody can build again.
clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache client/facestream.egg-info
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name avatars ! -name voices ! -name rating -exec rm -rf {} +; fi
