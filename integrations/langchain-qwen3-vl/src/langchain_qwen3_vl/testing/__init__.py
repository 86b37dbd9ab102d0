"""Standard tests of multimodal embeddings and rerankers, for any LangChain package: langchain-tests has none.

Derive a test class, name your class and its parameters, and pytest runs what is here:

```python
from langchain_qwen3_vl.testing import MultimodalEmbeddingsTests


class TestMyEmbeddings(MultimodalEmbeddingsTests):
    @property
    def embeddings_class(self):
        return MyEmbeddings
```
"""

from __future__ import annotations

from langchain_qwen3_vl.testing.embeddings import MultimodalEmbeddingsTests
from langchain_qwen3_vl.testing.rerankers import RerankerTests
from langchain_qwen3_vl.testing.tolerances import TOLERANCES

__all__ = ["TOLERANCES", "MultimodalEmbeddingsTests", "RerankerTests"]
