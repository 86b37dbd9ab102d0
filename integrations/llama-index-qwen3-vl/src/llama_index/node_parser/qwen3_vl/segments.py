"""Videos as windows of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from llama_index.core.schema import BaseNode, Document, Node
from pydantic import Field, model_validator

from llama_index.node_parser.qwen3_vl.document_files import find_text, is_unit, list_document_files
from llama_index.node_parser.qwen3_vl.file_parsers import FileParser, name_file
from llama_index.node_parser.qwen3_vl.media_nodes import build_media_node, build_node_id
from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.index import TranscribeSpeech, Unit, describe_unit, hash_file, read_units
from qwen3_vl_retrieval.paths import encode_path, show_path

__all__ = ["VideoSegmenter"]


class VideoSegmenter(FileParser):
    """Makes a node of every window of a video: a moment is found in a window, not in an hour.

    ```python
    document = Document(id_="talk.mp4", metadata={"file_path": "talk.mp4"})
    segments = VideoSegmenter(segment_seconds=20).get_nodes_from_documents([document])
    ```

    The metadata of a window have its `start` and `end` in seconds; its `video_resource` is the whole file, of which
    the models see the window. A caption stays with every window, and what is said in a window follows it
    (`asr`). A video that is not longer than a window is one node. Documents of anything else, and windows, are left as
    they are.

    Raises:
        ValueError: The windows would not advance.
    """

    segment_seconds: float = Field(default=30.0, gt=0, description="Length of a window.")
    overlap_seconds: float = Field(
        default=5.0, ge=0, description="What a window shares with the one before, so that no moment is cut in two."
    )
    cut_at_scenes: bool = Field(default=False, description="Let windows end where the image changes, too.")
    asr: TranscribeSpeech | None = Field(
        default=None,
        description="Transcribes what is said, see `transcribe_with_whisper` of the core; by default nothing does.",
    )

    @model_validator(mode="after")
    def _check_windows(self) -> Self:
        if self.overlap_seconds >= self.segment_seconds:
            raise ValueError(
                f"overlap_seconds={self.overlap_seconds} must be below segment_seconds={self.segment_seconds}"
            )
        return self

    def _parse_document(self, document: BaseNode) -> list[Node] | None:
        files = list_document_files(document, media_policy=self.media_policy)
        if [one.kind for one in files] != ["video"] or is_unit(document.metadata):
            return None
        path = files[0].source
        if isinstance(path, bytes):
            raise InputError("the video is given as data; let a MediaNodeParser with a media_dir go before")
        if isinstance(path, str):
            # A URL: the models open it as a whole, if their policy lets them.
            return None
        try:
            units = read_units(
                path,
                self._policy,
                window_seconds=self.segment_seconds,
                overlap_seconds=self.overlap_seconds,
                cut_at_scenes=self.cut_at_scenes,
                asr=self.asr,
            )
            if len(units) < 2 and units[0].text is None and not isinstance(document, Document):
                return None
            sha256 = hash_file(path)
        except InputError as error:
            raise name_file(error, path) from error
        return [self._build_segment(unit, document, path, sha256) for unit in units]

    def _build_segment(self, unit: Unit, document: BaseNode, path: Path, sha256: str) -> Node:
        caption = find_text(document)
        # What is said is a text layer: only a caption is embedded with the frames.
        kind = {"media_type": "mixed" if caption.strip() else "video"}
        text = "\n\n".join(part for part in (caption, unit.text) if part)
        own = self._read_own_metadata(document)
        about = {**describe_unit(unit), **kind, "file_name": show_path(Path(path.name))}
        window = {name: about[name] for name in ("start", "end") if name in about}
        metadata: dict[str, Any] = {**about, **own, **window, "video": encode_path(path), "sha256": sha256}
        id_ = build_node_id([sha256], text, metadata)
        return build_media_node(document, id_=id_, text=text, media={"video": path}, metadata=metadata)
