"""What importing the package loads, and what it names."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import llama_index.embeddings.qwen3_vl as embeddings_package

SOURCE = Path(embeddings_package.__file__).parents[2]
PACKAGES = sorted(
    f"llama_index.{path.parent.parent.name}.{path.parent.name}" for path in SOURCE.glob("*/*/__init__.py")
)


def test_packages_are_imported_without_torch_or_a_vector_store():
    code = (
        "import sys, importlib\n"
        f"for name in {PACKAGES!r}:\n"
        "    package = importlib.import_module(name)\n"
        "    [getattr(package, public) for public in package.__all__]\n"
        "    loaded = {'torch', 'transformers', 'chromadb', 'av'} & set(sys.modules)\n"
        "    if loaded: sys.exit(f'{name} loads {loaded}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_making_objects_loads_no_model():
    code = (
        "import sys, pickle;"
        "from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding;"
        "from llama_index.postprocessor.qwen3_vl_rerank.base import Qwen3VLRerank;"
        "made = [Qwen3VLEmbedding(), Qwen3VLRerank()];"
        "pickle.loads(pickle.dumps(made)); [value.to_dict() for value in made];"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)  # noqa: S603
    assert done.returncode == 0, done.stderr


def test_copies_of_a_plain_embedder_load_no_model():
    code = (
        "import copy, pickle, sys;"
        "from llama_index.embeddings.qwen3_vl import Qwen3VLEmbedding;"
        "from llama_index_adapter.plain_models import PlainEmbedder;"
        "made = Qwen3VLEmbedding(embedder=PlainEmbedder());"
        "copies = [made.model_copy(), copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))];"
        "[one.get_text_embedding('red') for one in copies];"
        "sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist_and_packages_are_typed(name):
    assert name.rpartition(".")[2].startswith("qwen3_vl")
    package = importlib.import_module(name)
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, public) for public in package.__all__)
    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_the_namespaces_of_llama_index_have_no_init_file():
    shared = [SOURCE, *(path for path in SOURCE.iterdir() if path.is_dir())]
    assert not [folder for folder in shared if (folder / "__init__.py").exists()]
    assert {"llama_index.embeddings.qwen3_vl", "llama_index.postprocessor.qwen3_vl_rerank"} <= set(PACKAGES)
