# Each recipe is one shell script that stops at its first failing command.
.ONESHELL:
.SHELLFLAGS := -eu -c
.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check contents nano lock

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
LOCKS := $(addprefix requirements/,dev.txt cuda.txt train.txt tools.txt)

help: ## list the commands
	@sed -n 's/^\([a-z]*\):[^#]*## /\1|/p' Makefile | while IFS='|' read -r name what; do
		printf '  make %-8s %s\n' "$$name" "$$what"
	done

setup: $(STAMP) ## make .venv from the locks (Python 3.11+ and a package index; a few minutes, once)

$(STAMP): requirements/install.py $(LOCKS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make setup PYTHON=python3.11")'
	$(PYTHON) requirements/install.py $(VENV)
	echo 'installing this checkout, so that its code runs as it stands'
	PYTHONWARNINGS=ignore $(BIN)/pip install --no-deps --no-build-isolation --quiet --editable .
	touch $@

demo: setup ## start the server on the nano checkpoints, ask about an image with Best-of-8, stop
	@image=model/nano/examples/difference.png
	field() { $(BIN)/python -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$${image%.png}.json" "$$1"; }
	port=$$($(BIN)/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	url=http://127.0.0.1:$$port
	mkdir -p runs

	$(BIN)/internvl3 serve --host 127.0.0.1 --port $$port >runs/demo.log 2>&1 &
	server=$$!
	trap 'kill $$server 2>/dev/null && wait $$server || true' EXIT
	trap 'exit 130' INT TERM

	start=$$(date +%s)
	until $(BIN)/python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' $$url/readyz 2>/dev/null; do
		waited=$$(($$(date +%s) - start))
		printf '\rstarting policy and critic (log: runs/demo.log) ... %s s' $$waited
		kill -0 $$server 2>/dev/null || { printf '\nthe server ended:\n' >&2; tail -n 20 runs/demo.log >&2; exit 1; }
		test $$waited -lt 600 || { printf '\nnot ready, giving up\n' >&2; exit 1; }
		sleep 1
	done
	printf '\nready on %s\n\n' $$url
	$(BIN)/internvl3 ask --base-url $$url --image "$$image" --best-of 8 --seed 2 "$$(field question)"
	echo "The right answer to $$image: $$(field answer)"

serve: setup ## start the server on the nano checkpoints and leave it up (ARGS='--port 9000 ...')
	@exec $(BIN)/internvl3 serve $(ARGS)

test: setup ## run the tests, the real engine included
	@$(BIN)/pytest $(ARGS)

check: setup ## formatting, lint, types, imports, and the tests without an engine, under odd conditions
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	seed=$${SEED:-$$(date +%s)} folder=$$(mktemp -d)
	echo "tests without an engine, on all cores: narrow dumb terminal, long paths, far time zone, random order with seed $$seed"
	trap 'rm -rf "$$folder"' EXIT
	# A file's tests share a process, because they share what is slow to make. Each process has one thread.
	COLUMNS=60 TERM=dumb TZ=Asia/Kathmandu OMP_NUM_THREADS=1 $(BIN)/pytest -q -m 'not engine' \
		-n "$$(nproc)" --dist loadfile --random-order --random-order-seed=$$seed \
		--basetemp "$$folder/$$(printf 'a-long-name-%.0s' 1 2 3 4 5 6 7 8 9 10)" $(ARGS)

contents: setup ## print what each file of the packages is about, in a line
	@$(BIN)/python -m tests.contents

nano: setup ## train the embedded policy and critic again, into runs/nano (ARGS=--install: into their place)
	@$(BIN)/internvl3 train nano $(ARGS)

lock: ## resolve the *.in files into the locks again (ARGS=--upgrade for the newest of everything)
	@requirements/lock.sh $(ARGS)
