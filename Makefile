# Two commands are enough for a newcomer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test check bench clean update-ytdlp

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Heaters needs Python 3.11 or newer; found: $$($(PYTHON) --version). Try: make PYTHON=python3.12 install"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "No venv module. On Debian or Ubuntu type: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ytdlp]'
	@touch $@

demo: install
	$(BIN)/heaters demo

test: install browser servers
	$(BIN)/python -m pytest -n 3 --dist loadgroup

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: install
	$(BIN)/python -m benchmarks

# Sites change every few weeks. Installs the newest yt-dlp, tries it, and writes its version into pyproject.toml.
update-ytdlp: install
	$(BIN)/python deploy/update_ytdlp.py
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: browser
browser:
	@deploy/install-browser

.PHONY: servers
servers:
	@deploy/install-servers
