# visionloop: `make` lists the targets. Each sets up what it needs; a fresh machine needs
# git, make and Python 3.11 or 3.12.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Container images often set this; without bytecode every step imports for ten seconds more.
export PYTHONDONTWRITEBYTECODE :=

# What `make run` trains on: a folder, an archive, s3://, https:// or kaggle://owner/dataset.
DATA ?= sample://scenes
# Test images, where DATA does not bring its own.
TEST ?=
# Start of training: none, hub (on a machine that reaches it), a file or an s3:// location.
WEIGHTS ?= none
# Pipeline and model group: DATA's base name in lower-case letters, digits and dashes.
NAME ?= $(or $(shell echo '$(DATA)' | sed -E 's/[?#].*//; s:/+$$::; s:.*/::' | \
	tr '[:upper:]' '[:lower:]' | \
	sed -E 's/(\.tar)?\.[a-z0-9]+$$//; s/[^a-z0-9]+/-/g; s/^-+|-+$$//g'),visionloop)
# The pipeline's own defaults are meant for pretrained weights. A random start learns faster
# with larger steps, and on little data reaches less. What a search has found goes before.
SCRATCH := $(filter none,$(WEIGHTS))
LEARNING_RATE ?= $(if $(wildcard defaults.yaml),,$(if $(SCRATCH),0.006))
MIN_ACCURACY ?= $(if $(SCRATCH),0.75,0.9)
MIN_MACRO_F1 ?= $(if $(SCRATCH),0.75,0.9)
MIN_CLASS_RECALL ?= $(if $(SCRATCH),0.5,0.75)
# local: child processes; docker: the components' images, which `python -m ci build` makes.
BACKEND ?= local
# Anything else for pipeline.py: make run ARGS="-p Epochs=40 --no-cache"
ARGS ?=

# What the endpoint is compared with: ci/peers/NAME.txt.
PEERS ?= toolkit torchserve fastapi litserve

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help setup run test test-house test-components test-faults test-training test-docker test-e2e test-labelstudio test-browser check check-code check-stacks format lock tensorboard loop audit bench bench-images bench-serving soak fuzz serve web screenshots clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## make .venv with the locked dependencies

# The stamp is the last thing made. Without one the last set-up was interrupted, or never
# was: start clean. With one the lock has changed: bring .venv up to date in place.
# The wheels of torch on PyPI bring CUDA's libraries, several GB; for a machine without a
# GPU set UV_INDEX to PyTorch's CPU index, lock again and set up from that lock.
$(READY): ci/requirements.txt ci/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "error: $(PYTHON) is no Python 3.11 or 3.12; install one and run: make PYTHON=python3.11" >&2; exit 1; }
	@if test -e $@; then rm $@; else $(PYTHON) -m venv --clear .venv; fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r ci/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes ci/requirements.txt
	@touch $@

run: $(READY) ## run the pipeline on this machine: make run DATA=images.zip
	$(BIN)/python pipeline.py --upsert --start --backend $(BACKEND) --name $(NAME) \
		-p TrainDataset='$(DATA)' $(if $(TEST),-p TestDataset='$(TEST)') \
		-p PretrainedWeights='$(WEIGHTS)' $(if $(LEARNING_RATE),-p LearningRate=$(LEARNING_RATE)) \
		-p MinAccuracy=$(MIN_ACCURACY) -p MinMacroF1=$(MIN_MACRO_F1) \
		-p MinClassRecall=$(MIN_CLASS_RECALL) $(ARGS)

PORT ?= 8080

serve: $(READY) ## serve the newest approved package: make serve PORT=8080 NAME=scenes
	@$(BIN)/python -m ci serve --port $(PORT) \
		$(if $(filter file,$(origin NAME)),,--name '$(NAME)') $(ARGS)

web: $(READY) ## show the web pages and serve what is approved: make web NAME=scenes ARGS="--port 8001"
	@$(BIN)/python -m ci web $(if $(filter file,$(origin PORT)),,--port '$(PORT)') \
		$(if $(filter file,$(origin NAME)),,--name '$(NAME)') $(ARGS)

loop: $(READY) .venv-tools/label-studio/.ready ## play the labelling loop with a real Label Studio: make loop ARGS="--data images.zip"
	$(BIN)/python -m ci loop $(ARGS)

# Two pytest processes side by side; pytest-xdist 3.8 loses its grouping with pytest 9, and
# tests that share one expensive run must stay together.
test: check ## check and run the fast tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-house test-components

FAST := -q --durations=5 -m "not faults and not training and not docker and not e2e and not labelstudio and not browser"
# The two halves take about as long, so that both cores have work to the end.
PEOPLE := components/labeling components/web

test-house: $(READY) ## run the tests of the host side, of the whole with its endpoint, and of what people see
	$(BIN)/pytest $(FAST) tests shared $(PEOPLE)

test-components: $(READY) ## run the tests of the components and ci
	$(BIN)/pytest $(FAST) components ci $(PEOPLE:%=--ignore=%)

# What is killed and starved needs the machine for itself to come back in its time.
test-faults: $(READY) ## kill, starve and flood a real endpoint, and see that it tells the truth
	$(BIN)/pytest -q --durations=10 -m faults tests/faults $(ARGS)

test-training: $(READY) ## train on two machines, through MLflow servers, in a search and as a benchmark
	$(BIN)/pytest -q --durations=10 -m training tests ci/tests components/train $(ARGS)

# Where no engine answers, ci/with-engine starts one if it finds out how.
test-docker: $(READY) ## build the images and run the tests in a Docker engine
	@ci/with-engine $(BIN)/pytest -q --durations=10 -m docker tests/docker $(ARGS)

# A core for each.
check: $(READY) ## format, lint, types, templates, and the house's own rules
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-code check-stacks

check-code: $(READY)
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m ci check

# Three readers of the templates, each with an eye of its own: types and references; the
# house's rules; the rules of the trade (ci/checkov.yaml says what is left out, and why).
CHECKOV := .venv-tools/checkov
check-stacks: $(READY) $(CHECKOV)/.ready .venv-tools/cfn-guard/.ready ## hold the CloudFormation templates to their linters
	$(BIN)/cfn-lint ci/stacks/*.yaml
	$(BIN)/python -m ci guard
	$(CHECKOV)/bin/python $(CHECKOV)/bin/checkov --config-file ci/checkov.yaml

# AWS on this machine: MiniStack runs the stacks, moto is SageMaker.
test-e2e: $(READY) .venv-tools/ministack/.ready ## deploy the stacks on emulators and put them to work
	$(BIN)/pytest -q --durations=10 -m e2e tests/e2e $(ARGS)

# One real Label Studio for both; browser tests drive its page with Debian's Chromium.
LABEL_STUDIO := .venv-tools/label-studio/.ready
test-labelstudio: $(READY) $(LABEL_STUDIO) ## hold the labelling loop to a real Label Studio
	$(BIN)/pytest -q --durations=10 -m "labelstudio and not browser" tests/labelstudio $(ARGS)

test-browser: $(READY) $(LABEL_STUDIO) ## use the web pages and Label Studio's page by a real browser
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -qq -y chromium; }
	$(BIN)/pytest -q --durations=10 -m browser tests/labelstudio tests/web $(ARGS)

PICTURES := components/web/pictures
screenshots: $(READY) ## train two models and take the pictures of the web pages anew
	$(BIN)/pytest -q -m browser tests/web/test_pictures.py --screenshots $(PICTURES) $(ARGS)

format: $(READY) ## format the code and rewrite the generated tables
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/python -m ci check --fix

# WHEELS: a folder of CPU wheels of torch, where its version has changed (ci/split_locks.py).
lock: $(READY) ## lock dependencies with hashes; make lock UPGRADE=--upgrade for newer ones
	$(LOCK) $(UPGRADE) -o containers/constraints.txt ci/requirements.in components/*/requirements.in
	@set -e; for asked in ci/requirements.in components/*/requirements.in; do \
		case $$asked in ci/*) all="components/*/requirements.in";; *) all=;; esac; \
		$(LOCK) --generate-hashes -c containers/constraints.txt -o $${asked%.in}.txt $$asked $$all; \
	done; for asked in ci/peers/*.in ci/tools/*.in; do \
		case $$asked in */cfn-guard.in) only=--no-deps;; *) only=;; esac; \
		$(LOCK) $(UPGRADE) $$only --generate-hashes -o $${asked%.in}.txt $$asked; \
	done
	$(BIN)/python -m ci split_locks $(if $(WHEELS),--wheels $(WHEELS))

tensorboard: $(READY) ## compare curves and parameters of local runs: make tensorboard ARGS="--port 6007"
	$(BIN)/python -m ci tensorboard $(ARGS)

bench-serving: $(READY) $(PEERS:%=.venv-peers/%/.ready) ## measure the endpoint beside its limit and other servers
	$(BIN)/python -m ci bench_serving $(if $(MODEL),--model $(MODEL)) $(ARGS)

# Each peer and each tool that pins what we use lives in an environment of its own.
define own_environment
	@rm -rf $(@D)
	$(BIN)/uv venv --quiet --python $(BIN)/python $(@D)
	$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@
endef

.venv-peers/%/.ready: ci/peers/%.txt | $(READY)
	$(own_environment)

.venv-tools/%/.ready: ci/tools/%.txt | $(READY)
	$(own_environment)

MINUTES ?= 10
SECONDS ?= 60

soak: $(READY) ## hold an endpoint to right answers and level memory: make soak MINUTES=10
	$(BIN)/python -m ci soak --minutes $(MINUTES) $(if $(MODEL),--model $(MODEL)) $(ARGS)

fuzz: $(READY) ## throw odd bytes at all that reads a client's bytes: make fuzz SECONDS=60
	$(BIN)/python -m ci fuzz --seconds $(SECONDS) $(ARGS)

bench-images: $(READY) ## measure the images: size, build time, start, the endpoint's memory
	@ci/with-engine $(BIN)/python -m ci bench_images --prune $(ARGS)
	@ci/with-engine $(BIN)/python -m ci bench_memory $(if $(MODEL),--model $(MODEL))

audit: $(READY) ## ask for known vulnerabilities of what is locked; status 3: nobody answers
	$(BIN)/python -m ci audit

bench: $(READY) ## measure speed and memory, as JSON
	$(BIN)/python -m ci bench

clean: ## remove caches and all that local runs left (.visionloop)
	rm -rf .visionloop .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
