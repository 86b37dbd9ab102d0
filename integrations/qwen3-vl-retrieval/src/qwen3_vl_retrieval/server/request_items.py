"""What clients write, as items: texts, content parts of conversations, and objects with text and images."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard, cast

from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.items import Item, MultimodalInput, check_text, coerce_input
from qwen3_vl_retrieval.server.media_of_requests import MediaOfRequests

__all__ = ["RequestItems", "read_items"]

_PART_TYPES = "text, image_url, video_url"
_DOCUMENT_KEYS = ("text", "image", "video")


class RequestItems:
    """Reads the items of one request; a `str` is always a text.

    Args:
        media: Reads their images and videos.
    """

    def __init__(self, media: MediaOfRequests) -> None:
        self._media = media
        self._pixels = media.count_pixels()

    def read_text(self, value: object) -> Item:
        """Returns a text.

        Raises:
            InputError: It is something else; of the ids of tokens it says that they are another tokenizer's.
        """
        if isinstance(value, str):
            return check_text(value, "the text")
        if _is_list(value) or (isinstance(value, int) and not isinstance(value, bool)):
            raise InputError(
                f"got {quote(value)}, which are token ids of another tokenizer; send strings (with langchain-openai: "
                "check_embedding_ctx_length=False)"
            )
        raise InputError(f"got {quote(value, with_type=True)}; send a string")

    def read_image(self, value: object) -> Item:
        """Returns an image: a `data:` URI, or base64.

        Raises:
            InputError: It is something else, or no image.
        """
        return {"image": self._media.read_image(value, self._pixels)}

    def read_document(self, value: object) -> Item:
        """Returns a text, or an object with `text`, `image` and `video`, or with `content` of parts.

        Raises:
            InputError: It is something else, or has other keys.
        """
        if not _is_object(value):
            return self.read_text(value)
        if "content" in value and len(value) == 1:
            return self.read_content(value["content"])
        unknown = [key for key in value if key not in _DOCUMENT_KEYS]
        if unknown or not value:
            raise InputError(
                f"got an object with the keys {quote(list(value))}; send a string, or an object with text, image and "
                "video, or with content alone"
            )
        readers = {"text": self._read_plain_text, "image": self._read_image_bytes, "video": self._media.read_video}
        given = {
            key: [readers[key](one) for one in (part if _is_list(part) else [part])]
            for key, part in value.items()
            if part is not None
        }
        return MultimodalInput(**cast("dict[str, Any]", given))

    def read_content(self, value: object) -> Item:
        """Returns the content of a message: a text, or a list of parts, whose order is kept.

        Raises:
            InputError: It is something else, or a part is of another type.
        """
        return self._join([*self._read_parts(value)], None)

    def read_input(self, value: object) -> Item:
        """Returns one of the inputs of Cohere: an object with `content`.

        Raises:
            InputError: It is something else.
        """
        if not _is_object(value) or list(value) != ["content"]:
            raise InputError(f"got {quote(value)}; send an object with content: a list of parts")
        return self.read_content(value["content"])

    def read_conversation(self, value: object) -> Item:
        """Returns the user's message of a conversation; the system's, if there is one, is its instruction.

        Raises:
            InputError: There are other messages.
        """
        if not _is_list(value):
            raise InputError(f"got {quote(value, with_type=True)}; send a list of messages")
        instruction: str | None = None
        parts: list[Any] | None = None
        for message in value:
            role = message.get("role") if _is_object(message) else None
            if not _is_object(message) or not {"role", "content"} <= set(message) <= {"role", "content", "name"}:
                raise InputError(f"got the message {quote(message)}; send an object with role and content")
            if role == "system" and instruction is None and parts is None:
                texts = self._read_parts(message["content"])
                if not all(isinstance(part, str) for part in texts):
                    raise InputError("the system message holds more than text; it is the instruction: send text")
                instruction = "".join(texts)
            elif role == "user" and parts is None:
                parts = self._read_parts(message["content"])
            else:
                raise InputError(
                    f"got a message of the role {quote(role)} where none is expected; send one of the user, and before "
                    "it at most one of the system, which is the instruction"
                )
        if parts is None:
            raise InputError("there is no message of the user; send one")
        return self._join(parts, instruction)

    def _join(self, parts: list[Any], instruction: str | None) -> Item:
        if instruction is None and len(parts) == 1 and isinstance(parts[0], str):
            return parts[0]
        return MultimodalInput(parts=parts, instruction=instruction)

    def _read_parts(self, content: object) -> list[Any]:
        if isinstance(content, str):
            return [self._read_plain_text(content)]
        if not _is_list(content):
            raise InputError(f"the content is {quote(content, with_type=True)}; send a string or a list of parts")
        return [self._read_part(part, position) for position, part in enumerate(content)]

    def _read_part(self, part: object, position: int) -> Any:
        kind = part.get("type") if _is_object(part) else None
        if _is_object(part) and isinstance(kind, str) and kind in part:
            source = part[kind]
            if kind == "text":
                return self._read_plain_text(source)
            # As OpenAI has it, an object with a url; some clients send the URL itself.
            source = source.get("url") if _is_object(source) else source
            if kind == "image_url":
                return {"image": self._read_image_bytes(source)}
            if kind == "video_url":
                return {"video": self._media.read_video(source)}
        raise InputError(
            f"part {position} is {quote(part)}; send an object whose type is one of {_PART_TYPES}, with a field of "
            "that name"
        )

    def _read_image_bytes(self, value: object) -> bytes:
        return self._media.read_image(value, self._pixels)

    def _read_plain_text(self, value: object) -> str:
        return check_text(value, "the text")


async def read_items(values: Sequence[object], read: Callable[[object], Item], *, role: str = "item") -> list[Item]:
    """Returns what `read` makes of each value, in a thread if there is more than text.

    Args:
        values: What a list of the request holds.
        read: One of the methods of `RequestItems`.
        role: What a value is called in errors.

    Raises:
        InputError: A value is no item; the message begins with its position.
    """

    def read_each() -> list[Item]:
        items: list[Item] = []
        for position, value in enumerate(values):
            try:
                item = read(value)
                # What no model would take is said before one is asked.
                coerce_input(item)
                items.append(item)
            except InputError as error:
                raise error.at(position, role=role) from error
        return items

    if all(isinstance(value, str) for value in values):
        return read_each()
    return await asyncio.to_thread(read_each)


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
