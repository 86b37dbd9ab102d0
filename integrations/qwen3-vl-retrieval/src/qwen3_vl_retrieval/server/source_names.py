"""What callers call the files of an index: names below the folder that holds them all, never paths of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from qwen3_vl_retrieval.errors import InputError, MediaError, quote
from qwen3_vl_retrieval.index.results.hits import find_folder, shorten_path
from qwen3_vl_retrieval.index.store.catalog import Catalog
from qwen3_vl_retrieval.paths import decode_path, encode_path

__all__ = ["SourceNames"]

_NAMING_OPERATORS = ("$eq", "$ne", "$in", "$nin")
"""Operators whose operands are names. Others are refused with their operand quoted, which must stay the caller's."""


@dataclass(frozen=True, slots=True)
class SourceNames:
    """Names of the files of an index, in both directions. A name is only compared with those, and opens nothing.

    Attributes:
        catalog: Knows the files.
        folder: The deepest folder that holds them all; `None` if there is none.
    """

    catalog: Catalog
    folder: str | None

    @classmethod
    def read(cls, catalog: Catalog) -> SourceNames:
        """Returns the names of the files that the index holds now."""
        outermost = catalog.list_outermost_sources()
        return cls(catalog, find_folder(outermost) if outermost else None)

    def show(self, source: str) -> str:
        """Returns the name of a file, with slashes: its path below the common folder, else that of the file alone."""
        return encode_path(PurePosixPath(shorten_path(source, self.folder).as_posix()))

    def resolve(self, names: Sequence[str]) -> list[str]:
        """Returns the files that are meant, as the index holds them; a folder is all files below it.

        Raises:
            InputError: A name is that of no file and no folder.
        """
        sources: dict[str, None] = {}
        for name in names:
            source = self._locate(name)
            if self.catalog.list_places(source):
                sources[source] = None
                continue
            below = [found for found, contents in self.catalog.list_sources(decode_path(source)).items() if contents]
            if not below:
                raise InputError(
                    f"there is no file and no folder {quote(name)} in this index; give a name as results show it, "
                    "such as 'reports/2024.pdf' or 'reports/'"
                )
            sources |= dict.fromkeys(below)
        return list(sources)

    def translate_filter(self, where: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a filter that names files as results do as one that names them as the index does.

        What is wrong with it, the index says.

        Raises:
            InputError: A name cannot be that of a file.
        """
        return {name: self._translate(name, value) for name, value in where.items()}

    def _translate(self, name: str, value: Any) -> Any:
        if name in ("$and", "$or") and isinstance(value, list):
            members = cast("list[Any]", value)
            return [
                self.translate_filter(cast("dict[str, Any]", one)) if isinstance(one, dict) else one for one in members
            ]
        if name != "source":
            return value
        if not isinstance(value, dict):
            return self._translate_operand(value)
        operands = cast("dict[str, Any]", value)
        return {
            operator: self._translate_operand(operand) if operator in _NAMING_OPERATORS else operand
            for operator, operand in operands.items()
        }

    def _translate_operand(self, operand: Any) -> Any:
        if isinstance(operand, list):
            return [self._translate_operand(one) for one in cast("list[Any]", operand)]
        return self._locate(operand) if isinstance(operand, str) else operand

    def _locate(self, name: str) -> str:
        """The path that a name would be that of. A path that is given is refused: it would tell where files lie."""
        try:
            path = decode_path(name)
        except MediaError:
            path = Path("/")
        if self.folder is None or not name or path.is_absolute() or path.drive or ".." in path.parts:
            raise InputError(
                f"{quote(name)} is no name of a file in this index; paths and URLs are not taken: give a name as "
                "results show it, such as 'reports/2024.pdf'"
            )
        return encode_path(Path(self.folder) / path)
