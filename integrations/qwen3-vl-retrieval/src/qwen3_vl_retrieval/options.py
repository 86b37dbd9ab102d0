"""The options of every model, said once: how it is loaded, what it sees, how long an item may be, and of each call.

Constructors, `from_pretrained`, the calls of the port and the adapters unpack these (`**options: Unpack[…]`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, get_type_hints

from qwen3_vl_retrieval.items import ImageReading
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = [
    "EMBEDDING_MAX_LENGTH",
    "RERANKING_MAX_LENGTH",
    "EmbedOptions",
    "EmbedderOptions",
    "EmbeddingOptions",
    "EngineOptions",
    "FormatOptions",
    "HubOptions",
    "InputType",
    "JudgingOptions",
    "LengthOptions",
    "LoadOptions",
    "MediaOptions",
    "ModelHub",
    "ModelKind",
    "OnOverflow",
    "PairTruncation",
    "PlacementOptions",
    "Precision",
    "RerankerOptions",
    "ScoreOptions",
    "ScoreOutput",
    "ShareOptions",
    "VectorOptions",
    "WeightOptions",
    "list_option_names",
    "split_options",
]

InputType: TypeAlias = Literal["document", "query"]
"""What a vector is for: to be found, or to find others. Each has an instruction of its own."""

OnOverflow: TypeAlias = Literal["fit", "error"]
"""What becomes of an item that is longer than the model allows: it is shortened with a warning, or refused."""

PairTruncation: TypeAlias = Literal["longest_first", "reference"]
"""Which text of a long pair is cut: the longer one, or the end of the pair as in the official script."""

Precision: TypeAlias = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
"""Number format of vectors, see `outputs.vectors.quantize_embeddings`."""

ScoreOutput: TypeAlias = Literal["probability", "margin"]
"""What a score is: the probability in [0, 1] that the document answers the query, or the log-odds of it."""

ModelKind: TypeAlias = Literal["embedding", "reranker"]
"""What a model is for."""

ModelHub: TypeAlias = Literal["huggingface", "modelscope"]


EMBEDDING_MAX_LENGTH = 8192
"""Default tokens of an item: `MAX_LENGTH` of the official `qwen3_vl_embedding.py` at commit 8ce3aab."""

RERANKING_MAX_LENGTH = 10_240
"""Default tokens of a pair: `MAX_LENGTH` of the official `qwen3_vl_reranker.py` at commit 8ce3aab."""


class HubOptions(TypedDict, total=False):
    """Where a model is found by its name; see `LoadOptions`."""

    revision: str | None
    model_hub: ModelHub
    token: str | None


class PlacementOptions(TypedDict, total=False):
    """Where the weights are, and how they are kept; see `LoadOptions`."""

    device: str | None
    dtype: str
    quantization: Any | None


class WeightOptions(HubOptions, PlacementOptions, total=False):
    """Which weights are loaded, and how they are kept; see `LoadOptions`."""


class LoadOptions(WeightOptions, total=False):
    """How a model is loaded by its name.

    Attributes:
        revision: Commit, tag or branch of the hub; pin a commit for vectors that stay comparable.
        model_hub: `"huggingface"` or `"modelscope"`.
        token: Access token of the hub, for private models.
        cache_dir: Where downloads are kept.
        local_files_only: Whether the hub is never contacted.
        device: `"cuda"`, `"cuda:1"`, `"mps"`, `"cpu"`; `None` takes the first of these that exists.
        dtype: `"auto"` (bfloat16 where the hardware runs it natively, else float32), `"float32"`, `"bfloat16"` or
            `"float16"`.
        attn_implementation: `"auto"` (PyTorch's, for which rows are packed without padding), or a name that
            transformers knows, whose padded forward pass is taken then.
        quantization: `"bitsandbytes-4bit"`, `"bitsandbytes-8bit"`, `"torchao-int8"` or a configuration object of
            transformers; the vision tower is left as it is.
    """

    cache_dir: str | Path | None
    local_files_only: bool
    attn_implementation: str


class MediaOptions(TypedDict, total=False):
    """What may be opened, and what the model sees of it.

    Attributes:
        media_policy: What may be opened; by default local files, no URLs.
        pixel_budget: Limits on the pixels that the model sees; `None` takes the official scripts', and with
            `from_pretrained` those of the checkpoint's `retrieval_config.json`, if it has one.
        frame_sampling: How frames are taken from videos; `None` likewise.
        image_reading: `"viewer"`: images as a viewer shows them, upright, on white where they are transparent, in
            sRGB; `"reference"`: as the official scripts see them. Part of the fingerprint; docs/semantics.md lists the
            differences.
    """

    media_policy: MediaPolicy | None
    pixel_budget: PixelBudget | None
    frame_sampling: FrameSampling | None
    image_reading: ImageReading


class LengthOptions(MediaOptions, total=False):
    """What the model sees of an item that is too long.

    Attributes:
        max_length: Tokens of an item, or of a pair, at most; up to 32,768.
        on_overflow: `"fit"` cuts text and gives images and videos fewer pixels and frames, with one warning a call;
            `"error"` raises `InputTooLongError`.
    """

    max_length: int
    on_overflow: OnOverflow


class EmbeddingOptions(LengthOptions, total=False):
    """The options of every embedder with a Qwen3-VL model, wherever it computes.

    Attributes:
        dimensions: Default length of a vector; `None` is the hidden size.
        document_instruction: Instruction of `embed` and `embed_documents`.
        query_instruction: Instruction of `embed_queries`.
    """

    dimensions: int | None
    document_instruction: str
    query_instruction: str


class JudgingOptions(LengthOptions, total=False):
    """The options of every reranker with a Qwen3-VL model, wherever it computes.

    Attributes:
        instruction: What makes a document relevant.
        truncation: Which text of a long pair is cut: `"longest_first"` the longer one, so that neither vanishes;
            `"reference"` the end of the pair, as the official script does, which can lose the whole document.
    """

    instruction: str
    truncation: PairTruncation


class EngineOptions(TypedDict, total=False):
    """What embedder and reranker in process have in common, once they are loaded.

    Attributes:
        max_batch_tokens: Tokens of a forward pass at most; `None` chooses by device. Halved when memory runs out.
    """

    max_batch_tokens: int | None


class EmbedderOptions(EmbeddingOptions, EngineOptions, total=False):
    """The options of `Qwen3VLEmbedder`."""


class RerankerOptions(JudgingOptions, EngineOptions, total=False):
    """The options of `Qwen3VLReranker`.

    Attributes:
        vision_cache_bytes: Memory for what the vision tower has made of documents' images, so that another query over
            the same ones costs a fraction: `None` is 1 GiB of the device, and on a GPU 4 GiB of the host's memory
            behind it; 0 keeps nothing. A page of 1,800 visual tokens takes 30 MB of the 2B model.
    """

    vision_cache_bytes: int | None


class ShareOptions(WeightOptions, MediaOptions, total=False):
    """The options of `share_embedder` and `share_reranker`: what callers must have in common to share a model.

    `LoadOptions`, `MediaOptions`, `LengthOptions` and `EngineOptions` describe them; `None` is the default there.
    """

    max_length: int | None
    max_batch_tokens: int | None


class VectorOptions(TypedDict, total=False):
    """What decides about a vector besides model and item.

    Attributes:
        instruction: What the items are to be represented for; an item's own instruction goes before it.
        dimensions: Length of a vector, from 32 to the hidden size.
        precision: Number format; `binary` and `ubinary` return `dimensions / 8` bytes.
    """

    instruction: str | None
    dimensions: int | None
    precision: Precision


class FormatOptions(TypedDict, total=False):
    """What becomes of a state of the model.

    Attributes:
        dimensions: Length of a vector, from 32 to the hidden size.
        precision: Number format.
        normalize: Whether vectors are scaled to unit length after they are cut to `dimensions`.
    """

    dimensions: int | None
    precision: Precision
    normalize: bool


class EmbedOptions(VectorOptions, FormatOptions, total=False):
    """The options of each call that embeds.

    Attributes:
        show_progress: Whether progress bars are shown for reading and computing.
    """

    show_progress: bool


class ScoreOptions(TypedDict, total=False):
    """The options of each call that judges.

    Attributes:
        instruction: What makes a document relevant; taken as it is, as in the official script.
        output: What is returned, see `ScoreOutput`.
        show_progress: Whether progress bars are shown for reading and judging.
    """

    instruction: str | None
    output: ScoreOutput
    show_progress: bool


def split_options(given: Mapping[str, Any], first: type, second: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the options that belong to `first`, and those that belong to `second`.

    Args:
        given: Options by name.
        first: A `TypedDict` of options.
        second: Another one.

    Raises:
        TypeError: An option belongs to neither, as Python raises it for an argument that does not exist.
    """
    own, others = list_option_names(first), list_option_names(second)
    for name in given:
        if name not in own and name not in others:
            raise TypeError(
                f"got an unexpected keyword argument {name!r}; allowed are {', '.join(sorted(own | others))}"
            )
    return (
        {name: value for name, value in given.items() if name in own},
        {name: value for name, value in given.items() if name in others and name not in own},
    )


def list_option_names(options: type) -> frozenset[str]:
    """Returns the names of the options of a `TypedDict` and of those that it extends."""
    return frozenset(get_type_hints(options))
