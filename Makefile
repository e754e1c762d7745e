# make demo   set up .venv, then distill a teacher into a student, on the digits that come with scikit-learn
# make test   set up .venv, then run the linter and the tests, but for the slow ones (six to nine minutes on two idle cores)
# make test-all   the same with the slow ones: every method learns, more settings and tasks
# make test-tpu   the tests that compile for a TPU, which need none, with libtpu (210 MB) in an environment of its own

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all test-tpu

demo: $(VENV)/.installed
	$(BIN)/python -m experiments.main --config=configs/digits.py --workdir=runs/digits

test: SELECTED = -m "not slow"

test test-all: $(VENV)/.installed-test
	$(BIN)/ruff check --extend-exclude $(VENV) .
	$(BIN)/ruff format --check --extend-exclude $(VENV) .
	$(BIN)/python -m pytest -n 2 --dist worksteal $(SELECTED)

test-tpu: $(VENV)-tpu/.installed
	JAX_PLATFORMS=cpu $(VENV)-tpu/bin/python -m pytest tests/speed/test_compile_check.py

$(BIN)/python $(VENV)-tpu/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(@D:/bin=)

$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-test: requirements-test.txt requirements-onnx.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-onnx.txt
	@touch $@

# Where libtpu is installed, JAX looks for a TPU at each start and complains of none, so it is kept out of $(VENV).
$(VENV)-tpu/.installed: requirements.txt requirements-tpu.txt requirements-test.txt | $(VENV)-tpu/bin/python
	$(VENV)-tpu/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-tpu.txt \
		pytest pytest-xdist hypothesis -c requirements-test.txt
	@touch $@
