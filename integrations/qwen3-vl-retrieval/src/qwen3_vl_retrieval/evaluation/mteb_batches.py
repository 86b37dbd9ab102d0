"""Rows of mteb's batches as items."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, TypeAlias

from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.items import Item

__all__ = ["MODALITIES", "Batch", "Row", "iterate_rows", "list_items"]

Batch: TypeAlias = Mapping[str, Sequence[Any]]
"""What a loader of mteb yields: columns of the same length, `text` and `image` among them."""

MODALITIES = ("text", "image")
"""What is read of a batch. mteb decodes videos and sounds by itself, without the times that the models read."""

_UNREAD = ("video", "audio")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a batch.

    Attributes:
        item: What is embedded or judged.
        key: The same for rows that are known to hold the same.
    """

    item: Item = field(repr=False)
    key: Hashable


def list_items(batch: Batch) -> list[Item]:
    """Returns the rows of a batch as items; an image goes before its text, as in the official scripts.

    Rows may lack the one or the other: an image whose text is empty is an image.

    Raises:
        InputError: The batch holds neither text nor images, or what is not read.
    """
    unread = [name for name in _UNREAD if name in batch]
    if unread or not any(name in batch for name in MODALITIES):
        raise InputError(
            f"the task's batches hold {', '.join(unread or batch) or 'nothing'}; tasks of text and images are "
            "understood here"
        )
    texts, images = (batch.get(name) for name in MODALITIES)
    if texts is not None and images is not None:
        return [_make_item(text, image) for text, image in zip(texts, images, strict=True)]
    if images is not None:
        return [_make_item(text, image) for text, image in zip(repeat(None), images)]
    return [_make_item(text, None) for text in texts or ()]


def iterate_rows(batches: Iterable[Batch]) -> Iterator[Row]:
    """Yields the rows of batches one by one; no more than a batch is held.

    Raises:
        InputError: A batch is not understood, see `list_items`.
    """
    for batch in batches:
        ids = batch.get("id")
        for place, item in enumerate(list_items(batch)):
            if ids is not None:
                yield Row(item, ids[place])
            else:
                # Images are decoded anew for each row: without an id, nobody knows that two are the same.
                yield Row(item, item if isinstance(item, str) else object())


def _make_item(text: str | None, image: Any | None) -> Item:
    if image is None:
        return "" if text is None else text
    return {"image": image, "text": text} if text else {"image": image}
