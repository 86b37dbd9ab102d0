"""Where a server listens, and who may ask it, as options."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

__all__ = ["Listening"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a server listens, and the file of the keys that it asks for."""

    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 is any that is free.")] = (
        8080
    )
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            exists=True,
            dir_okay=False,
            help="File of API keys, one a line; every request must bring one.",
        ),
    ] = None

    def read_keys(self, messages: Console) -> list[str]:
        """Returns the keys; without any, a warning is shown where others than this machine may ask.

        Empty lines of the file and those that begin with # are none.

        Raises:
            ValueError: The file holds none.
        """
        if self.api_key_file is None:
            if not self._is_loopback():
                warning = (
                    f"Warning: whoever reaches {self.host} may use this server; require a key with --api-key-file FILE"
                )
                messages.print(Text(warning, style="yellow"), soft_wrap=True)
            return []
        lines = [line.strip() for line in self.api_key_file.read_text(encoding="utf-8").splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise ValueError(f"the file {str(self.api_key_file)!r} of --api-key-file holds no key; write one a line")
        return keys

    def _is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
