# Two commands are enough for a newcomer: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test check bench clean update-ytdlp

install: $(STAMP)

# Older pips, as Python 3.11 brings, take three times as long to look through the lists of versions.
# pip would compile everything, but most of it is never imported: what is imported is compiled by the line after it.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Heaters needs Python 3.11 or newer; found: $$($(PYTHON) --version). Try: make PYTHON=python3.12 install"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "No venv module. On Debian or Ubuntu type: apt-get install python3-venv"; exit 1; }
	@echo "1 of 3: a newer pip ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25' || echo "Going on with the pip that is there"
	@echo "2 of 3: Heaters, and all that it needs, into $(VENV); it takes some minutes ..."
	@$(BIN)/python deploy/install_packages.py --editable '.[dev,ytdlp]'
	@echo "3 of 3: compiling what is used, so that the first start is as fast as the next ..."
	@env PYTHONDONTWRITEBYTECODE= $(BIN)/python deploy/first_import.py
	@touch $@

demo: install
	$(BIN)/heaters demo

# pip has one processor to do, and the packages of the system mostly wait for the network: both at once.
test:
	@$(MAKE) --no-print-directory -j 2 install programs
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

.PHONY: programs
programs:
	@deploy/install-test-programs
