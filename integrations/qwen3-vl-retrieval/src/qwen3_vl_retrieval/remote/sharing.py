"""Remote engines of the whole process: asked for by address any number of times, connected to and tested once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar, Unpack
from weakref import WeakValueDictionary

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.options import EngineOptions, PlacementOptions, ShareOptions, list_option_names
from qwen3_vl_retrieval.remote.embedder import RemoteEmbedder
from qwen3_vl_retrieval.remote.reranker import RemoteReranker

__all__ = ["share_remote_embedder", "share_remote_reranker"]

_Model = TypeVar("_Model", RemoteEmbedder, RemoteReranker)

_Shared = WeakValueDictionary[Hashable, _Model]

_EMBEDDERS: _Shared[RemoteEmbedder] = WeakValueDictionary()
_RERANKERS: _Shared[RemoteReranker] = WeakValueDictionary()

_CONNECTING = ForkSafeLock()

_OF_THE_SERVER = list_option_names(PlacementOptions) | list_option_names(EngineOptions)
"""Options of loading that whoever started the server has chosen."""


def share_remote_embedder(
    base_url: str,
    *,
    checkpoint: str | Path | None = None,
    api_key: str | None = None,
    **options: Unpack[ShareOptions],
) -> RemoteEmbedder:
    """Returns the process's embedder of a server, connected to if nobody holds it.

    ```python
    embedder = share_remote_embedder("http://gpu-1:8080")
    ```

    Args:
        base_url: Where the server is.
        checkpoint: Folder or hub id of its model; `None` asks the server.
        api_key: Key of the server.
        **options: See `ShareOptions`; those about the device are the server's.

    Raises:
        ModelError: The server has no such model, or another setting than the model needs.
        RemoteError: The server cannot be reached.
        ValueError: An option was given that is the server's.
    """
    return _share(_EMBEDDERS, RemoteEmbedder.connect, base_url, checkpoint, api_key, options)


def share_remote_reranker(
    base_url: str,
    *,
    checkpoint: str | Path | None = None,
    api_key: str | None = None,
    **options: Unpack[ShareOptions],
) -> RemoteReranker:
    """Returns the process's reranker of a server; arguments and errors are those of `share_remote_embedder`."""
    return _share(_RERANKERS, RemoteReranker.connect, base_url, checkpoint, api_key, options)


def _share(
    shared: _Shared[_Model],
    connect: Callable[..., _Model],
    base_url: str,
    checkpoint: str | Path | None,
    api_key: str | None,
    options: ShareOptions,
) -> _Model:
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for name in sorted(given):
        if name in _OF_THE_SERVER:
            raise ValueError(
                f"{name}={quote(given[name])} was given beside a server, which has loaded its model already; leave it "
                "out, and choose it where the server is started"
            )
    token = given.pop("token", None)
    key = (base_url, None if checkpoint is None else str(checkpoint), api_key, *sorted(given.items()))
    with _CONNECTING:
        found = shared.get(key)
        if found is None:
            hub = {} if token is None else {"token": token}
            shared[key] = found = connect(base_url, checkpoint=checkpoint, api_key=api_key, **hub, **given)
        return found
