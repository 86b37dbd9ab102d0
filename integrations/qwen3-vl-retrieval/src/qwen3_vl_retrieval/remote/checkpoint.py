"""What an engine elsewhere needs here of its model: tokenizer, sizes and name; never the weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

from tokenizers import Tokenizer

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.loading import locate_checkpoint
from qwen3_vl_retrieval.loading.defaults import RetrievalDefaults, read_retrieval_defaults
from qwen3_vl_retrieval.loading.weights import read_configuration
from qwen3_vl_retrieval.media import FrameSampling, ImageReading, MediaPolicy, PixelBudget
from qwen3_vl_retrieval.media.images import check_image_reading
from qwen3_vl_retrieval.options import MediaOptions, ModelKind
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer

__all__ = ["RemoteCheckpoint", "Sight", "read_checkpoint"]


class Sight(TypedDict):
    """`MediaOptions` with each of them chosen."""

    media_policy: MediaPolicy
    pixel_budget: PixelBudget
    frame_sampling: FrameSampling
    image_reading: ImageReading


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCheckpoint:
    """A model that computes elsewhere.

    Attributes:
        model_id: Its name in fingerprints and reports.
        revision: Commit, or hash of the weights; `""` where neither is known.
        hidden_size: Length of its states.
        tokenizer: Its tokenizer.
        defaults: The sizes that it expects.
        folder: Where its files are on this machine; `None` if a server told what is needed of it.
    """

    model_id: str
    revision: str
    hidden_size: int
    tokenizer: PromptTokenizer
    defaults: RetrievalDefaults
    folder: Path | None = None

    def choose_sight(self, options: MediaOptions) -> Sight:
        """Returns what may be opened, and what the model sees of it: the caller's choice, or the checkpoint's."""
        policy, budget, sampling = (options.get(name) for name in ("media_policy", "pixel_budget", "frame_sampling"))
        return {
            "media_policy": MediaPolicy() if policy is None else policy,
            "pixel_budget": self.defaults.pixel_budget if budget is None else budget,
            "frame_sampling": self.defaults.frame_sampling if sampling is None else sampling,
            "image_reading": check_image_reading(options.get("image_reading", "viewer")),
        }


def read_checkpoint(name_or_path: str | Path, *, kind: ModelKind, **options: Any) -> RemoteCheckpoint:
    """Returns what is needed of the checkpoint in a folder or on a hub, from which no weights are downloaded.

    Args:
        name_or_path: Folder, hub id, or `"pocket"`.
        kind: Whether it embeds or judges.
        **options: Those of `locate_checkpoint`.

    Raises:
        ModelError: It cannot be found, is of another family, or its files are damaged.
    """
    checkpoint = locate_checkpoint(name_or_path, kind=kind, with_weights=False, **options)
    path = checkpoint.folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizer's Rust code raises bare exceptions
        raise ModelError(f"the tokenizer in {str(path)!r} cannot be read ({error}); download it again") from error
    configuration = read_configuration(checkpoint.folder)
    text = cast("dict[str, Any]", configuration.get("text_config", configuration))
    return RemoteCheckpoint(
        model_id=checkpoint.model_id,
        revision=checkpoint.revision,
        hidden_size=int(text["hidden_size"]),
        tokenizer=PromptTokenizer(tokenizer),
        defaults=read_retrieval_defaults(checkpoint.folder),
        folder=checkpoint.folder,
    )
