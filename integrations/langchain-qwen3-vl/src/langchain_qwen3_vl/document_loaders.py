"""Folders as documents: one for each image, page of a PDF, window of a video and chunk of a text."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from PIL import Image

from langchain_qwen3_vl.ingestion import OnError
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.index import (
    FailedFile,
    SkippedFile,
    TranscribeSpeech,
    Unit,
    describe_unit,
    hash_file,
    list_files,
    read_units,
)

__all__ = ["Qwen3VLFolderLoader"]


class Qwen3VLFolderLoader(BaseLoader):
    """Loads what a folder holds, file by file, while the documents are consumed.

    A document's text is the chunk, the text layer of the page, or what is said in the window; pixels stay in their
    files, which the metadata name. Its id is a UUID of its content and place in it (page, seconds): the same for the
    same content under any name, so that content which is there twice is loaded once, from the first of its files.

    ```python
    loader = Qwen3VLFolderLoader("papers", on_error="skip")
    store.add_documents(loader.lazy_load())
    print(loader.failures)
    ```

    Files and folders whose names begin with a dot are left out. What else is not read, such as files of unknown
    suffixes and links that lead out of the folder, is in `skipped` with the reason.

    Args:
        folder: The folder.
        metadata: Flat scalars for every document.
        media_policy: What may be opened; `None` is any local file.
        window_seconds: Length of a window of a video; a video that is not longer is one document.
        overlap_seconds: What a window shares with the one before.
        cut_at_scenes: Let windows end where the scene changes, too.
        ocr: Reads the words of pages without a text layer, and of images; `None` leaves them unread.
        asr: Transcribes what is said in videos, which becomes the text of their windows; `None` leaves them unheard.
            See `qwen3_vl_retrieval.index.transcribe_with_whisper`.
        on_error: What becomes of a file that cannot be read: `"raise"` names it, `"skip"` loads the others.

    Attributes:
        failures: The files that could not be read by the last iteration, and why.
        skipped: What the last iteration found and did not read, and why.

    Raises:
        ValueError: An option is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        media_policy: MediaPolicy | None = None,
        window_seconds: float = 30.0,
        overlap_seconds: float = 5.0,
        cut_at_scenes: bool = False,
        ocr: Callable[[Image.Image], str] | None = None,
        asr: TranscribeSpeech | None = None,
        on_error: OnError = "raise",
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(f"on_error={quote(on_error)} must be 'raise' or 'skip'")
        if not 0 <= overlap_seconds < window_seconds:
            raise ValueError(
                f"overlap_seconds={overlap_seconds} must be at least 0 and below window_seconds={window_seconds}"
            )
        self.folder = Path(folder)
        self.failures: list[FailedFile] = []
        self.skipped: list[SkippedFile] = []
        self._metadata: Mapping[str, Any] = {} if metadata is None else dict(metadata)
        self._policy = MediaPolicy() if media_policy is None else media_policy
        self._read_units = partial(
            read_units,
            window_seconds=window_seconds,
            overlap_seconds=overlap_seconds,
            cut_at_scenes=cut_at_scenes,
            ocr=ocr,
            asr=asr,
        )
        self._on_error = on_error

    def lazy_load(self) -> Iterator[Document]:
        """Yields the documents, in the order of the paths of their files.

        Raises:
            InputError: The folder is none; or a file or folder in it cannot be read, with `on_error="raise"`.
        """
        self.failures = []
        listing = list_files(self.folder)
        self.skipped = list(listing.skipped)
        for path, error in listing.failures:
            if self._on_error == "raise":
                raise error
            self.failures.append(FailedFile(path=path, unit=None, error=error))
        seen: set[str] = set()
        for path in listing.files:
            try:
                documents = self._read_file(path)
            except InputError as error:
                if self._on_error == "raise":
                    raise _name_file(error, path) from error
                self.failures.append(FailedFile(path=path, unit=None, error=error))
                continue
            for document in documents:
                if document.id not in seen:
                    seen.add(str(document.id))
                    yield document

    def _read_file(self, path: Path) -> list[Document]:
        units = self._read_units(path, self._policy)
        if not units:
            return []
        sha256 = hash_file(path)
        return [self._build_document(unit, sha256) for unit in units]

    def _build_document(self, unit: Unit, sha256: str) -> Document:
        text = "" if unit.text is None else unit.text
        # A chunk is its words: those around it may change.
        content = hashlib.sha256(text.encode()).hexdigest() if unit.media_type == "text" else sha256
        place = json.dumps([content, unit.media_type, unit.page, unit.start, unit.end])
        return Document(
            id=str(uuid.UUID(bytes=hashlib.sha256(place.encode()).digest()[:16])),
            page_content=text,
            metadata={**describe_unit(unit), "sha256": sha256, **self._metadata},
        )


def _name_file(error: InputError, path: Path) -> InputError:
    return error if quote(path) in error.reason else type(error)(f"{quote(path)}: {error.reason}")
