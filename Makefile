# make run: the main job on embedded real data. make test: the test suite. Both set up .venv themselves.
PYTHON ?= python3.11
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# what a user gives reaches the shell by its environment, where it is no code
export CORES N FIRST
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --cores "$$CORES" --rerun-incomplete --show-failed-logs

.PHONY: env env-run run unlock test test-slow slurm fuzz faults audit docs build check check-types check-style format bench emulator lock clean

INSTALL = test -x $(BIN)/python || $(PYTHON) -m venv .venv; $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# all that tests, checks and documents need; `run` has enough in cmbfit and its workflow
env: .venv/.stamp

env-run: .venv/.run

.venv/.run: pyproject.toml constraints.txt
	$(INSTALL) -e ".[workflow]"
	touch $@

.venv/.stamp: pyproject.toml constraints.txt
	$(INSTALL) -e ".[dev]"
	touch .venv/.run $@

run: env-run
	$(SNAKEMAKE)
	$(BIN)/snakemake --report results/default/report/snakemake.html --quiet all
	@echo "open results/default/report/index.html"

# after a killed driver; make sure that no other run is at work in this folder
unlock: env-run
	$(BIN)/snakemake --unlock

# one process a core, each with one thread: oversubscribed threads spin; files in the order of tests/conftest.py
test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not slurm" -n auto --dist loadfile --no-loadscope-reorder

test-slow: env
	$(BIN)/python -m pytest -m slow

# a real one-node SLURM on this machine (Debian, root): submit, kill, restart, compare with the local run
slurm: env
	command -v slurmctld >/dev/null && command -v munged >/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; }
	$(BIN)/python -m pytest -m slurm -s tests/slurm

# damaged and hostile input for every reader: N inputs each (the test suite tries 12)
N ?= 1000
fuzz: env
	OMP_NUM_THREADS=1 CMBFIT_FUZZ="$$N" $(BIN)/python -m pytest tests/fuzz -n auto --dist loadfile --timeout 7200

# random sequences of edits, kills, full disks and moves: N in one process (about four kills each; the test suite runs 2),
# a twelfth as many through Snakemake, from number FIRST on; faults planted to be found
faults: N = 500
faults: FIRST = 0
faults: env
	OMP_NUM_THREADS=1 CMBFIT_FAULTS="$$N" CMBFIT_FAULTS_FIRST="$$FIRST" $(BIN)/python -m pytest tests/faults/test_harness.py tests/faults/test_harness_snakemake.py

# known vulnerabilities of the pinned packages, and weaknesses of the CI's workflows; needs the advisory service of PyPI,
# and says so, red, where that cannot be asked
audit: env
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[audit]"
	$(BIN)/zizmor --offline --no-progress .github
	@out=$$($(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt 2>&1); rc=$$?; \
	printf '%s\n' "$$out"; \
	case $$rc:$$out in \
	  0:*"No known vulnerabilities"*) ;; \
	  *"Found "*" known "*) echo "audit: NOT GREEN: known vulnerabilities, listed above"; exit 1;; \
	  *) echo "audit: NOT GREEN: the advisory service could not be asked: nothing is known of these versions"; exit 1;; \
	esac

docs: env
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

# sdist and wheel in dist/; their version is that of the last tag
build: env
	$(BIN)/python -m build
	@ls dist

# two halves of equal length, which `make -j2 check` runs side by side
check: check-types check-style

check-types: env
	$(BIN)/mypy

check-style: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile pipeline/rules
	$(BIN)/snakemake --lint
	$(BIN)/codespell

format: env
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile pipeline/rules

# trains the emulator for ACT and SPT (832 backgrounds: about 80 minutes on two cores) and puts it into the package
emulator: env
	$(SNAKEMAKE) --configfile pipeline/config/train.yaml
	$(BIN)/python -m pipeline ship_emulator --emulator results/train/theory/emulator --held-out 0.1 \
	  --chunks results/train/theory/training/chunk_*.npz --data planck2018_plik_lite_ttteee \
	  --output cmbfit/theory/emulator/bundles/lcdm_high

bench: env
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.posterior

lock: env
	(head -n 1 constraints.txt; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v -E '@|^(pip|setuptools|wheel)=') > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf results
