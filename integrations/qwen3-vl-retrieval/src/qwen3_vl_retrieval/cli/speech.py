"""Options on what is said in videos, for the commands that read files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import typer

from qwen3_vl_retrieval.documents.speech import TranscribeSpeech
from qwen3_vl_retrieval.documents.whisper import transcribe_with_whisper
from qwen3_vl_retrieval.errors import StoreError

__all__ = ["SpeechOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """Whether speech is transcribed, and by what.

    Attributes:
        asr: Model of faster-whisper; `None` leaves speech alone.
        asr_language: What is spoken; `None` lets the model find it.
        asr_device: Where the model runs.
    """

    asr: Annotated[
        str | None,
        typer.Option(
            "--asr",
            metavar="MODEL",
            help="Transcribe what is said in videos: model of faster-whisper (small, large-v3, turbo) or its folder.",
        ),
    ] = None
    asr_language: Annotated[
        str | None, typer.Option("--asr-language", metavar="CODE", help="What is spoken: en, de.  [default: found out]")
    ] = None
    asr_device: Annotated[
        str | None, typer.Option("--asr-device", help="cpu or cuda for --asr.  [default: cuda if there is one]")
    ] = None

    def __post_init__(self) -> None:
        """Raises a usage error for options of a model that is not asked for."""
        if self.asr is None and (self.asr_language is not None or self.asr_device is not None):
            raise typer.BadParameter("--asr-language and --asr-device are about --asr; add --asr small")

    def build_transcriber(self) -> TranscribeSpeech | None:
        """Returns what transcribes; its model is loaded when the first video is read.

        Raises:
            StoreError: faster-whisper is not installed.
        """
        if self.asr is None:
            return None
        if find_spec("faster_whisper") is None:
            raise StoreError('--asr needs faster-whisper: pip install "qwen3-vl-retrieval[speech]"')
        device = "auto" if self.asr_device is None else self.asr_device
        return partial(transcribe_with_whisper, model=self.asr, device=device, language=self.asr_language)
