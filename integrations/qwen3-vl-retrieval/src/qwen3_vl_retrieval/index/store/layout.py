"""What a store's folder holds, and what is written at its head."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.fingerprint import Fingerprint

__all__ = ["FORMAT_VERSION", "OLD_FORMAT_VERSION", "SidecarPrecision", "StoreHead", "StoreLayout"]

FORMAT_VERSION = "2"

OLD_FORMAT_VERSION = "1"
"""Without slots: a vector lies in the row of its unit. Read as it is, and migrated before it is written to."""

SidecarPrecision: TypeAlias = Literal["float32", "float16", "int8", "ubinary"]
"""Number formats of stored vectors, see `quantize_embeddings`."""

_VECTORS_NAME = re.compile(r"vectors(-[0-9]+)?\.bin")
_COLLECTION_NAME = re.compile(r"collection(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The files of a store.

    ```text
    catalog.sqlite3   units, places, files, words: what the store holds is what is written here
    collection/       Chroma's: short vectors with texts and metadata, to be recalled from
    vectors.bin       full vectors, to be rescored with
    media/            images that were given in memory
    thresholds.json   what scores mean, if it was measured
    *.lock
    ```

    `compact` and `repair` write a new file or folder, `vectors-2.bin` or `collection-2`; the catalog says which counts.
    """

    folder: Path

    @property
    def catalog(self) -> Path:
        """The database."""
        return self.folder / "catalog.sqlite3"

    @property
    def collection(self) -> Path:
        """Chroma's folder, until the collection is built again."""
        return self.folder / "collection"

    @property
    def vectors(self) -> Path:
        """The sidecar, until it is compacted."""
        return self.folder / "vectors.bin"

    def find_part(self, name: str) -> Path:
        """Returns the file of vectors or the folder of the collection that the catalog names.

        Raises:
            StoreError: It is not a name of ours.
        """
        if not _VECTORS_NAME.fullmatch(name) and not _COLLECTION_NAME.fullmatch(name):
            raise StoreError(f"the catalog of {str(self.folder)!r} names {name!r}, which is no part of a store")
        return self.folder / name

    def list_parts(self) -> list[Path]:
        """Returns all files of vectors and folders of collections, those included that count no longer."""
        if not self.folder.is_dir():
            return []
        names = sorted(path.name for path in self.folder.iterdir())
        return [
            self.folder / name for name in names if _VECTORS_NAME.fullmatch(name) or _COLLECTION_NAME.fullmatch(name)
        ]

    @property
    def media(self) -> Path:
        """Images that were given in memory."""
        return self.folder / "media"

    def exists(self) -> bool:
        """Returns whether the folder holds a store, finished or not."""
        return self.catalog.is_file()

    def require_free(self) -> None:
        """Raises an error unless a store may be created here.

        Raises:
            StoreError: The folder holds other files, or is a file itself.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{str(self.folder)!r} is a file; give a folder for the store")
        ours = {"catalog.sqlite3", "collection", "vectors.bin", "media", "writer.lock", "collection.lock"}
        others = [path.name for path in self.folder.iterdir() if path.name not in ours] if self.folder.is_dir() else []
        if others:
            raise StoreError(
                f"{str(self.folder)!r} is no store and not empty (it holds {sorted(others)[0]!r}); "
                "give an empty folder, or one that does not exist"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHead:
    """What a store was created with.

    Attributes:
        store_id: Stamped on the collection, too: the two belong together.
        fingerprint: Fingerprint of the vectors.
        short_dimensions: Length of the vectors in the collection.
        precision: Number format of the full vectors.
    """

    store_id: str
    fingerprint: Fingerprint
    short_dimensions: int
    precision: SidecarPrecision

    @classmethod
    def create(cls, fingerprint: Fingerprint, *, short_dimensions: int, precision: SidecarPrecision) -> StoreHead:
        """Returns the head of a new store."""
        return cls(
            store_id=uuid.uuid4().hex, fingerprint=fingerprint, short_dimensions=short_dimensions, precision=precision
        )

    def to_settings(self) -> dict[str, str]:
        """Returns the head as the catalog keeps it."""
        return {
            "format_version": FORMAT_VERSION,
            "store_id": self.store_id,
            "fingerprint": json.dumps(self.fingerprint.to_dict()),
            "short_dimensions": str(self.short_dimensions),
            "precision": self.precision,
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, folder: Path) -> StoreHead:
        """Returns the head that `to_settings` wrote.

        Raises:
            StoreError: It is not one, or of another version.
        """
        version = settings.get("format_version")
        if version is None:
            raise StoreError(f"{str(folder)!r} is a store that was never finished; delete the folder and start again")
        if version not in (OLD_FORMAT_VERSION, FORMAT_VERSION):
            raise StoreError(
                f"the store {str(folder)!r} has format {version}, this version reads {OLD_FORMAT_VERSION} and "
                f"{FORMAT_VERSION}; "
                "open it with the version that wrote it, or build it again"
            )
        return cls(
            store_id=settings["store_id"],
            fingerprint=Fingerprint.from_dict(json.loads(settings["fingerprint"])),
            short_dimensions=int(settings["short_dimensions"]),
            precision=cast("SidecarPrecision", settings["precision"]),
        )
