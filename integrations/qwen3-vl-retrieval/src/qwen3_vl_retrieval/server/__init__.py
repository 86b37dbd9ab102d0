"""The models for others: one process that owns them, spoken to over HTTP by workers in any language.

```python
import uvicorn
from qwen3_vl_retrieval import Qwen3VLEmbedder
from qwen3_vl_retrieval.server import create_app

uvicorn.run(create_app(embedder=Qwen3VLEmbedder.from_pretrained("pocket"), reranker=None))
```

Needs the extra `server`; importing this package imports none of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen3_vl_retrieval.lazy_imports import import_lazily

if TYPE_CHECKING:
    from qwen3_vl_retrieval.server.app import create_app
    from qwen3_vl_retrieval.server.limits import ServerLimits
    from qwen3_vl_retrieval.server.mcp import build_http_app, build_mcp_server

__all__ = ["ServerLimits", "build_http_app", "build_mcp_server", "create_app"]

_MODULES = {
    "ServerLimits": "server.limits",
    "build_http_app": "server.mcp",
    "build_mcp_server": "server.mcp",
    "create_app": "server.app",
}

__getattr__ = import_lazily(__name__, _MODULES)
