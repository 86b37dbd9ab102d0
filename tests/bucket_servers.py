"""An object store on loopback, which ends with its block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest

_CREDENTIALS = {"key": "key", "secret": "secret"}


@contextmanager
def serve_bucket() -> Generator[str, None, None]:
    """Yields the address of an S3 that has the bucket `bucket`; its credentials are `key` and `secret`."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        # What it holds is the process's, and another module may have filled it.
        httpx.post(f"{address}/moto-api/reset").raise_for_status()
        fsspec = pytest.importorskip("fsspec")
        fsspec.filesystem("s3", **_CREDENTIALS, endpoint_url=address).mkdir("bucket")
        yield address
    finally:
        server.stop()
