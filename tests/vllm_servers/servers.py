"""Real vLLM servers, started for tests from an environment of their own.

`QWEN3VL_VLLM` names the environment: a folder with `bin/vllm`. CONTRIBUTING.md says how to make one, on a CPU as well.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from qwen3_vl_retrieval.options import ModelKind
from qwen3_vl_retrieval.remote.vllm_command import build_vllm_command, read_chat_template

START_SECONDS = 240
ENVIRONMENT = os.environ.get("QWEN3VL_VLLM", "")

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


class VllmProcess:
    """A vLLM that serves one checkpoint, and can be killed and started again at the same port."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._arguments = arguments
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server and returns at once."""
        command = [f"{ENVIRONMENT}/bin/vllm", *self._arguments, "--host", "127.0.0.1", "--port", str(self.port)]
        path = f"{ENVIRONMENT}/bin:{os.environ['PATH']}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the environment that the caller named
                command, stdout=log, stderr=log, env={**os.environ, **SETTINGS, "PATH": path}, start_new_session=True
            )

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.base_url}/health", timeout=5.0).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise AssertionError(self._log.read_text()[-3000:])

    def kill(self) -> None:
        """Ends the server and all its processes without warning."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def serve_with_vllm(
    checkpoint: Path,
    kind: ModelKind,
    *,
    left_out: tuple[str, ...] = (),
    changed: dict[str, str] | None = None,
) -> Generator[VllmProcess, None, None]:
    """Runs the command that `qwen3vl vllm-command` prints, with settings left out or changed.

    Args:
        checkpoint: Folder of the model.
        kind: What it is for.
        left_out: Options that are not given.
        changed: Options that are given another value.
    """
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template.jinja"
        template.write_text(read_chat_template(kind))
        words = shlex.split(build_vllm_command(str(checkpoint), kind=kind, template=template).replace("\\\n", " "))
        options: dict[str, str | None] = {"--dtype": "float32", "--served-model-name": checkpoint.name}
        # The reference has none, and the CPU takes long to compile.
        arguments = [words[1], words[2], "--enforce-eager"]
        name = ""
        for word in words[3:]:
            if word.startswith("--"):
                name = word
                options[name] = None
            else:
                options[name] = word
        options["--max-model-len"] = "8192"
        options |= {} if changed is None else changed
        for option, value in options.items():
            if option not in left_out:
                arguments += [option] if value is None else [option, value]
        server = VllmProcess(arguments, Path(folder) / "log.txt")
        server.start()
        try:
            server.wait_until_it_answers()
            yield server
        finally:
            server.kill()


def change_overrides(**values: object) -> str:
    """The value of `--hf-overrides` with some of its members changed."""
    overrides = {
        "architectures": ["Qwen3VLForSequenceClassification"],
        "classifier_from_token": ["no", "yes"],
        "is_original_qwen3_reranker": True,
    }
    return json.dumps({**overrides, **values})
