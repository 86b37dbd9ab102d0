"""Images, pages and videos as content blocks of a language model."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from llama_index.core.base.llms.types import ImageBlock, VideoBlock
from PIL import Image

from llama_index.schema.qwen3_vl.node_media import NodeMedium, draw_medium
from qwen3_vl_retrieval import InputError, MediaPolicy
from qwen3_vl_retrieval.index import encode_jpeg

__all__ = ["BlockOptions", "VideoForm", "build_blocks", "count_images"]

VideoForm: TypeAlias = Literal["frames", "block", "none"]

_SHOWN_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
"""Those that the APIs of language models take; an image of another type is shown as JPEG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockOptions:
    """How images and videos are shown.

    Attributes:
        video: Whether a video is frames, itself, or nothing.
        max_image_pixels: Most pixels of an image; `None` is any number.
        max_image_bytes: Most bytes of an image; `None` is any number.
        max_video_bytes: Most bytes of a video that is shown itself; a larger one is frames. `None` is any number.
        media_policy: What may be opened; `None` is any local file.
        keeps_files: Whether an image that fits as it is is named by its path, in place of JPEG data.
    """

    video: VideoForm = "frames"
    max_image_pixels: int | None = None
    max_image_bytes: int | None = None
    max_video_bytes: int | None = None
    media_policy: MediaPolicy | None = None
    keeps_files: bool = False


def build_blocks(medium: NodeMedium, options: BlockOptions, *, max_images: int) -> list[ImageBlock | VideoBlock]:
    """Returns what a language model is shown of a medium: the video itself, or at most `max_images` images.

    Raises:
        InputError: It is missing, refused, or cannot be read.
    """
    if medium.kind == "video" and options.video == "none":
        return []
    block = _build_video_block(medium, options) if medium.kind == "video" and options.video == "block" else None
    if block is not None:
        return [block]
    if max_images < 1:
        return []
    images = draw_medium(medium, media_policy=options.media_policy, max_frames=max_images)
    if medium.kind == "image" and options.keeps_files and _fits(images[0], medium.path, options):
        return [ImageBlock(path=medium.path)]
    return [_build_image_block(image, options) for image in images[:max_images]]


def count_images(medium: NodeMedium, options: BlockOptions, *, max_frames: int) -> int:
    """Returns how many images there are to show of a medium; nothing is opened."""
    if medium.kind != "video":
        return 1
    if options.video == "none" or (options.video == "block" and _can_be_whole(medium, options)):
        return 0
    return max_frames


def _build_image_block(image: Image.Image, options: BlockOptions) -> ImageBlock:
    encoded = encode_jpeg(image, max_pixels=options.max_image_pixels, max_bytes=options.max_image_bytes)
    return ImageBlock(image=encoded, image_mimetype="image/jpeg")


def _can_be_whole(medium: NodeMedium, options: BlockOptions) -> bool:
    """Whether a video is a whole file of this machine, or data, and small enough."""
    if any(medium.metadata.get(name) is not None for name in ("start", "end")):
        return False
    source = medium.metadata.get("video")
    if isinstance(source, bytes):
        return options.max_video_bytes is None or len(source) <= options.max_video_bytes
    return medium.path is not None and medium.path.is_file() and not _exceeds(medium.path, options.max_video_bytes)


def _build_video_block(medium: NodeMedium, options: BlockOptions) -> VideoBlock | None:
    """The video itself; `None` of one that is shown by frames."""
    if not _can_be_whole(medium, options):
        return None
    # Decoding a frame holds the file to the policy, and to being a video: no other file leaves this way.
    draw_medium(medium, media_policy=options.media_policy)
    source = medium.metadata.get("video")
    if medium.path is None:
        return VideoBlock(video=source)
    if options.keeps_files:
        return VideoBlock(path=medium.path)
    guessed = mimetypes.guess_type(medium.path.name)[0]
    mime = guessed if guessed is not None and guessed.startswith("video/") else "video/mp4"
    try:
        return VideoBlock(video=medium.path.read_bytes(), video_mimetype=mime)
    except OSError as error:
        raise InputError(f"the video cannot be read: {error}") from error


def _fits(image: Image.Image, path: Path | None, options: BlockOptions) -> bool:
    if path is None or mimetypes.guess_type(path.name)[0] not in _SHOWN_TYPES:
        return False
    pixels = options.max_image_pixels
    return (pixels is None or image.width * image.height <= pixels) and not _exceeds(path, options.max_image_bytes)


def _exceeds(path: Path, most: int | None) -> bool:
    return most is not None and path.stat().st_size > most
