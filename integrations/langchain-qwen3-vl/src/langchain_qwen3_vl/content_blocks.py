"""Content blocks of messages, in the shapes that they have had.

Those are the blocks of version 1, those of version 0 with a `source_type`, OpenAI's `image_url`, Anthropic's `source`,
and those of the model itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, cast

from qwen3_vl_retrieval import InputError, MediaPolicy, MediaPolicyError
from qwen3_vl_retrieval.errors import quote

__all__ = ["read_block", "shorten_text"]

_ALLOWED_BLOCKS = "allowed are text, text-plain, image, video, image_url and video_url"
_TEXT_TYPES = ("text", "text-plain", "input_text")
_MEDIA_TYPES = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
}
_CLIP_OPTIONS = ("fps", "max_frames", "start", "end")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
"""A URI scheme of at least two letters: one letter and a colon is a drive."""

_SHOWN_CHARACTERS = 60


def read_block(block: Mapping[str, Any], media_policy: MediaPolicy | None) -> dict[str, Any]:
    """Returns the part of an item that a content block of any version stands for; nothing is opened.

    Args:
        block: It; it has a `type`.
        media_policy: What its `url` may name; without `allow_dirs` that is no local file.

    Raises:
        InputError: It is of a kind that models do not take, or holds nothing that is understood.
        MediaPolicyError: It names a local file that is not allowed, or holds more than `max_bytes`.
    """
    named = block["type"]
    if named in _TEXT_TYPES or block.get("source_type") == "text":
        return {"text": _read_text(block)}
    if not isinstance(named, str) or named not in _MEDIA_TYPES:
        raise InputError(
            f"a content block of type={quote(named)} is neither text nor picture nor clip; {_ALLOWED_BLOCKS}"
        )
    kind = _MEDIA_TYPES[named]
    part: dict[str, Any] = {kind: _read_source(block, kind, media_policy)}
    if kind == "video":
        options: Mapping[str, Any] = {**(block.get("extras") or {}), **block}
        part |= {name: options[name] for name in _CLIP_OPTIONS if options.get(name) is not None}
    return part


def _read_text(block: Mapping[str, Any]) -> str:
    text = block.get("text")
    if isinstance(text, str):
        return text
    encoded = block.get("base64")
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True).decode("utf-8")
        except ValueError as error:
            raise InputError(f"the base64 of a text block is not UTF-8 text in base64: {error}") from error
    raise InputError(f"a text block has no 'text' (its keys are {_list_keys(block)}); documents are not downloaded")


def _read_source(block: Mapping[str, Any], kind: str, media_policy: MediaPolicy | None) -> object:
    """What a block of any version names or holds as its picture or clip."""
    # OpenAI nests the URL, Anthropic all of it.
    nested = block.get(f"{kind}_url", block.get("source"))
    fields: Mapping[str, Any] = cast("Mapping[str, Any]", nested) if isinstance(nested, Mapping) else block
    mime_type = fields.get("mime_type", fields.get("media_type"))
    if mime_type is not None and str(mime_type).partition("/")[0] != kind:
        raise InputError(
            f"a block of type={quote(block['type'])} has mime_type={quote(mime_type)}; give {kind}/…, or a "
            "block of another type"
        )
    encoded = fields.get("base64", fields.get("data"))
    if isinstance(encoded, str):
        return _decode(encoded, kind, media_policy)
    url = nested if isinstance(nested, str) else fields.get("url")
    if isinstance(url, str):
        return _check_url(url, kind, media_policy)
    given = block.get(kind)
    if given is not None:
        # The messages of the model itself: {"type": "image", "image": …}.
        return _check_url(given, kind, media_policy) if isinstance(given, str) else given
    if "file_id" in fields or fields.get("source_type") == "id":
        raise InputError(
            f"{_name_block(kind)} names a file_id, a file in the storage of a provider; give the data as base64, "
            "or a url"
        )
    raise InputError(f"{_name_block(kind)} has neither url nor base64; its keys are {_list_keys(fields)}")


def _decode(encoded: str, kind: str, media_policy: MediaPolicy | None) -> bytes:
    limit = (MediaPolicy() if media_policy is None else media_policy).max_bytes
    # The smallest that it can decode to, so that nothing above the limit is decoded.
    if len(encoded) * 3 // 4 - 2 > limit:
        raise MediaPolicyError(
            f"the base64 of {_name_block(kind)} is {len(encoded):,} characters, above max_bytes={limit:,}; give a "
            "smaller one or raise max_bytes of the MediaPolicy"
        )
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        hint = "; a data: URI belongs in 'url'" if encoded[:5].lower() == "data:" else ""
        raise InputError(f"the base64 of {_name_block(kind)} cannot be decoded: {error}{hint}") from error


def _check_url(url: str, kind: str, media_policy: MediaPolicy | None) -> str:
    """The URL of a block, unless it is of another kind of media, or a local file that no policy allows."""
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme == "data" and not url[len("data:") :].lower().startswith(f"{kind}/"):
        raise InputError(f"{_name_block(kind)} holds {shorten_text(url)!r}; its data: URI must begin with data:{kind}/")
    is_local = scheme not in ("data", "http", "https")
    if is_local and (media_policy is None or media_policy.allow_dirs is None):
        raise MediaPolicyError(
            f"{_name_block(kind)} names the local file {shorten_text(url)!r}; content blocks come from outside, so "
            f"that their files are opened only in folders that allow_dirs of the MediaPolicy names. Give "
            f"{{'{kind}': path}} for a file of your own"
        )
    return url


def _name_block(kind: str) -> str:
    return f"{'an' if kind == 'image' else 'a'} {kind} block"


def _list_keys(block: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, block))


def shorten_text(text: str) -> str:
    """Returns as much of a text as a message shows."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
