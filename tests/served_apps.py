"""A server on a port of this machine, in a thread, as `qwen3vl serve` runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from qwen3_vl_retrieval.server.listening import build_config

_START_SECONDS = 60.0


@contextmanager
def serve_app(app: Any) -> Generator[str, None, None]:
    """Yields the URL of the server; at the end it answers what it has let in, and stops."""
    config = build_config(app, host="127.0.0.1", port=0, max_request_seconds=30, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served-app")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
