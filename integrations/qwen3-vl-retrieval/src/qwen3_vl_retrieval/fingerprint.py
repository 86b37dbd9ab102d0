"""Identity of a vector space: vectors with different fingerprints must never be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
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
        frame_sampling: How frames are taken from clips.
        max_length: Tokens after which an item is shortened.
        prompt_version: Wording and layout of the prompt.
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
        if set(given) != set(expected) or any(type(given[name]) is not kind for name, kind in expected.items()):
            raise FingerprintMismatchError(
                f"not a fingerprint of this version: got {quote(values)}, expected the fields {sorted(expected)}. "
                "Embed the items again into a new store."
            )
        return cls(**values)

    def require_match(self, stored: Fingerprint) -> None:
        """Passes silently if vectors of `stored` may be compared with vectors of `self`.

        Raises:
            FingerprintMismatchError: They may not; the message names each field that differs.
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
