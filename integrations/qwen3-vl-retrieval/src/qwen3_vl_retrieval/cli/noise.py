"""Standard error of a command: our lines stay there, and what libraries write while they work is kept out.

PDFium, libtiff, Pillow and transformers report on files and weights without naming them: to whoever reads the messages
of a command that is noise. What could not be read is named in the command's own lines.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import typer
from rich.console import Console
from rich.text import Text

from qwen3_vl_retrieval.documents.labels import clean_text

__all__ = ["keep_noise_out"]

_PACKAGE = Path(__file__).parents[1]


@contextmanager
def keep_noise_out() -> Generator[Console, None, None]:
    """Yields a console on standard error, where nobody else writes until the end; warnings of this package go there.

    What libraries wrote is shown after an error that nobody expected, and dropped otherwise. A standard error that was
    replaced within Python, as test runners do, is left as it is.
    """
    if sys.stderr is None or sys.stderr is not sys.__stderr__:
        yield Console(stderr=True)
        return
    own, noise = _divert()
    messages = Console(file=own)
    before, show_before = sys.stderr, warnings.showwarning
    handler = logging.StreamHandler(noise)
    # Without a handler, Python writes to standard error on its own.
    logging.getLogger().addHandler(handler)
    sys.stderr = noise
    with warnings.catch_warnings():
        warnings.showwarning = _make_showwarning(messages, show_before)
        try:
            yield messages
        except (typer.Exit, typer.BadParameter, KeyboardInterrupt):
            raise
        except BaseException:
            _replay(noise, own)
            raise
        finally:
            logging.getLogger().removeHandler(handler)
            sys.stderr = before
            os.dup2(own.fileno(), 2)
            messages.file = before
            own.close()
            # `noise` stays open: libraries may have kept it as the standard error that they found when imported.


def _divert() -> tuple[IO[str], IO[str]]:
    """A stream to where standard error leads, and a file that receives what is written to it from now on."""
    sys.stderr.flush()
    own = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    noise = tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    os.dup2(noise.fileno(), 2)
    return own, noise


def _make_showwarning(messages: Console, show_others: Any) -> Any:
    def show(message: Warning | str, category: type[Warning], filename: str, *others: Any) -> None:
        if Path(filename).is_relative_to(_PACKAGE):
            messages.print(Text(f"Warning: {clean_text(str(message))}", style="yellow"), soft_wrap=True)
        else:
            show_others(message, category, filename, *others)

    return show


def _replay(noise: IO[str], own: IO[str]) -> None:
    with suppress(OSError):
        noise.flush()
        noise.seek(0)
        own.write(noise.read())
        own.flush()
