.PHONY: help install format lint types imports lowest test test-bfloat16 test-quantization test-lowest test-vllm demo docs cookbooks build fuzz all

help: ## Show this text
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: ## Install the workspace with all tools
	uv sync

format: ## Format the code and sort imports
	uv run ruff format
	uv run ruff check --fix

lint: ## Check style
	uv run ruff format --check
	uv run ruff check

types: ## Check types (strict)
	uv run pyright

imports: ## Check that imports go one way
	uv run lint-imports

test: ## Run all tests, offline, on the CPU
	uv run pytest

# A file of an adapter that compares numbers of both models. Emulated bfloat16 is slow: not all of them.
BFLOAT16 = langchain_adapter/test_rerank.py

test-bfloat16: ## Run the tests of the adapters that compare numbers, with dtype="auto" being bfloat16
	uv run pytest --automatic-dtype=bfloat16 $(BFLOAT16:%=tests/%)

# In a layer of their own: torchao would stay for the tests that follow, where transformers imports it and it warns.
test-quantization: ## Run the tests that need torchao, which is not installed by default
	uv run --with 'torchao>=0.14' --with 'accelerate>=1.10' pytest --numprocesses=0 tests/core/test_loading_quantization.py

# QWEN3VL_VLLM names an environment in which vLLM is installed; CONTRIBUTING.md says how to make one, on a CPU as well.
test-vllm: ## Run the tests against a real vLLM, where there is one
	@if [ -x "$(QWEN3VL_VLLM)/bin/vllm" ]; then uv run pytest --numprocesses=0 tests/vllm_servers; \
	else echo "not run: QWEN3VL_VLLM names no environment with vLLM"; fi

# What touches other packages; the rest is the same code on any version.
LOWEST = reference_embeddings reference_scores language attention varlen loading_models loading_checkpoints media_images media_pdf \
	media_video_files index_parquet index_embedding_function public_api

lowest: .venv-lowest/pyvenv.cfg ## Make an environment of the lowest versions that the packages declare

.DELETE_ON_ERROR:
.venv-lowest/pyvenv.cfg: pyproject.toml $(wildcard integrations/*/pyproject.toml)
	uv venv --quiet --clear .venv-lowest
	uv pip install --quiet --python .venv-lowest --resolution lowest-direct --group test -e 'integrations/qwen3-vl-retrieval[chroma,ocr,parquet]' -e integrations/qwen3-vl-pocket

test-lowest: lowest ## Run tests of the core in it
	.venv-lowest/bin/python -m pytest $(LOWEST:%=tests/core/test_%.py)

# Not in `all`: it needs an environment with vLLM, which CONTRIBUTING.md describes.
demo: ## Run the first command of the README
	uv run qwen3vl demo

docs: ## Build the documentation; warnings are errors
	uv run --group docs sphinx-build -W -n -b html docs docs/_build

cookbooks: ## Execute all notebooks on the pocket models
	uv run python cookbooks/execute.py

MINUTES = 30

fuzz: ## Read damaged images, PDFs and videos for 30 minutes (MINUTES=5 for five)
	uv run python benchmarks/fuzz_media.py --minutes $(MINUTES)

build: ## Build the wheels and look inside
	uv build --quiet --clear --all-packages
	uv run python tests/check_wheels.py dist

all: lint types imports docs build cookbooks test-quantization test-lowest test-bfloat16 test-vllm test ## Everything that CI runs
