"""Speech transcribed by Whisper, with faster-whisper: on any CPU, or a GPU, in a hundred languages."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.documents.speech import Utterance
from qwen3_vl_retrieval.errors import ModelError, explain, quote
from qwen3_vl_retrieval.lazy_imports import import_extra

__all__ = ["SpokenSegment", "WhisperModel", "WhisperTranscriber", "transcribe_with_whisper"]


class SpokenSegment(Protocol):
    """A segment as faster-whisper returns it."""

    @property
    def start(self) -> float:
        """When it begins, in seconds."""
        ...

    @property
    def end(self) -> float:
        """When it ends."""
        ...

    @property
    def text(self) -> str:
        """The words."""
        ...


class WhisperModel(Protocol):
    """What is used of `faster_whisper.WhisperModel`."""

    def transcribe(
        self,
        audio: npt.NDArray[np.float32],
        *,
        language: str | None,
        vad_filter: bool,
        condition_on_previous_text: bool,
    ) -> tuple[Iterable[SpokenSegment], Any]:
        """Returns segments, and what is known of the language."""
        ...


class WhisperTranscriber:
    """Transcribes speech. Give it to `asr=`.

    ```python
    transcriber = WhisperTranscriber.from_pretrained("large-v3", language="de")
    index = MultimodalIndex.open("store", embedder, asr=transcriber)
    ```

    It cannot be sent to other processes: those call `transcribe_with_whisper`.

    Args:
        model: A `faster_whisper.WhisperModel`.
        language: Code of the language, such as `"de"`; `None` lets the model find it, for each stretch of sound.
    """

    def __init__(self, model: WhisperModel, *, language: str | None = None) -> None:
        self._model = model
        self._language = language

    @classmethod
    def from_pretrained(cls, name: str = "small", *, device: str = "auto", language: str | None = None) -> Self:
        """Loads a model.

        Args:
            name: A size (`"tiny"` to `"large-v3"`, `"turbo"`), the id of a converted model on the hub, or its folder.
            device: `"auto"`, `"cpu"` or `"cuda"`.
            language: As in the constructor.

        Raises:
            StoreError: faster-whisper is not installed.
            ModelError: The model cannot be loaded.
        """
        package = import_extra("faster_whisper", purpose="transcripts of speech", extra="speech")
        try:
            model: WhisperModel = package.WhisperModel(name, device=device)
        except Exception as error:
            # Hub, CTranslate2 and tokenizers each have errors of their own, which no common class tells from others.
            raise ModelError(
                f"the speech model {quote(name)} cannot be loaded: {explain(error)}; give a size such as small or "
                "large-v3, or the folder of a model that was converted for CTranslate2"
            ) from error
        return cls(model, language=language)

    def __call__(self, samples: npt.NDArray[np.float32]) -> list[Utterance]:
        """Returns what is said; what is no speech is left out by faster-whisper's detector of voices."""
        # Conditioned on what it wrote before, Whisper repeats itself over music and noise.
        segments, _ = self._model.transcribe(
            samples, language=self._language, vad_filter=True, condition_on_previous_text=False
        )
        return [Utterance(start=one.start, end=one.end, text=one.text.strip()) for one in segments]


def transcribe_with_whisper(
    samples: npt.NDArray[np.float32], *, model: str = "small", device: str = "auto", language: str | None = None
) -> list[Utterance]:
    """Returns what is said, by a model that is loaded at the first call of a process. Give this function to `asr=`.

    With other options than these, give `functools.partial(transcribe_with_whisper, model="large-v3")`, which workers
    can be sent, too.

    Args:
        samples: One channel, 16,000 samples a second.
        model: As `name` of `WhisperTranscriber.from_pretrained`, like the rest.
        device: As there.
        language: As there.

    Raises:
        StoreError: faster-whisper is not installed.
        ModelError: The model cannot be loaded.
    """
    return _load(model, device, language)(samples)


@lru_cache(maxsize=1)
def _load(model: str, device: str, language: str | None) -> WhisperTranscriber:
    return WhisperTranscriber.from_pretrained(model, device=device, language=language)
