"""Identity of a vector space: vectors with different fingerprints must never be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from qwen3_vl_retrieval.errors import FingerprintMismatchError, quote

__all__ = ["Fingerprint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Everything that changes a stored vector, as flat scalars that any store can keep.

    Attributes:
        model: Model id or folder name.
        revision: Commit of the model hub, or a hash of the weights.
        dimensions: Length of a vector after Matryoshka truncation.
        precision: Number format, see `quantize_embeddings`.
        instruction: Default instruction of stored items.
        pixel_budget: Limits on the pixels the model sees.
        frame_sampling: How frames are taken from videos.
        max_length: Tokens after which an item is shortened.
        prompt_version: Wording and layout of the prompt.
        image_reading: How images are read, see `media.read_image`. Vectors from before there was a choice, whose
            fingerprint lacks the field, were made with `"reference"`.
    """

    model: str
    revision: str
    dimensions: int
    precision: str
    instruction: str
    pixel_budget: str
    frame_sampling: str
    max_length: int
    prompt_version: str
    image_reading: str = "reference"

    def to_dict(self) -> dict[str, str | int]:
        """Returns the fields as a flat dict for JSON or a store's metadata."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Fingerprint:
        """Returns the fingerprint that `to_dict` wrote.

        Raises:
            FingerprintMismatchError: A field is missing, unknown or of another type.
        """
        expected = {field.name: int if field.type == "int" else str for field in fields(cls)}
        given: Mapping[Any, Any] = values if isinstance(values, Mapping) else {}  # pyright: ignore[reportUnnecessaryIsInstance] - read from a store
        optional = {field.name for field in fields(cls) if field.default is not MISSING}
        is_whole = set(expected) - optional <= set(given) <= set(expected)
        if not is_whole or any(type(value) is not expected[name] for name, value in given.items()):
            raise FingerprintMismatchError(
                f"not a fingerprint of this version: got {quote(values)}, expected the fields {sorted(expected)}. "
                "Embed the items again into a new store."
            )
        return cls(**given)

    def require_match(self, stored: Fingerprint) -> None:
        """Raises an error unless vectors of `stored` may be compared with vectors of `self`.

        Raises:
            FingerprintMismatchError: They differ; the message names each field that does.
        """
        differences = [
            f"{field.name}: stored {getattr(stored, field.name)!r}, now {getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(stored, field.name) != getattr(self, field.name)
        ]
        if differences:
            raise FingerprintMismatchError(
                "the stored vectors come from another vector space ("
                + "; ".join(differences)
                + "). Open the store with the embedder that wrote it, or embed the items again into a new store."
            )
