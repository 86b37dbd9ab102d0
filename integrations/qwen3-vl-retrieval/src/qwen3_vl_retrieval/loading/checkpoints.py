"""From a model's name to a folder on this machine, with the revision that identifies its weights."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import httpx
from huggingface_hub import snapshot_download  # pyright: ignore[reportUnknownVariableType] - a bare dict in its types
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from qwen3_vl_retrieval.errors import ModelError
from qwen3_vl_retrieval.loading.weights import check_model_type, hash_weight_files, list_weight_files
from qwen3_vl_retrieval.options import ModelHub, ModelKind

__all__ = ["Checkpoint", "locate_checkpoint"]

# Everything that loading reads. Repositories also hold scripts and images.
_SMALL_FILES = ["*.json", "*.jinja", "merges.txt"]
_FILES = [*_SMALL_FILES, "*.safetensors"]

_OFFLINE_ADVICE = (
    "on a machine without network, download the repository elsewhere, copy the folder here and pass its path"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model's files on this machine.

    Attributes:
        model_id: Hub id, `"pocket"`, or the name of a local folder (not its path, which differs by machine).
        revision: Commit on the Hugging Face hub; elsewhere `"sha256:…"`, see `hash_weight_files`, or `""` where the
            weights are not there.
        folder: Where the files are.
    """

    model_id: str
    revision: str
    folder: Path


def locate_checkpoint(
    name_or_path: str | Path,
    *,
    kind: ModelKind,
    revision: str | None = None,
    model_hub: ModelHub = "huggingface",
    token: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    with_weights: bool = True,
) -> Checkpoint:
    """Returns the checkpoint of a local folder, of a hub (downloaded when missing) or of the pocket package.

    Args:
        name_or_path: Folder, hub id such as `"Qwen/Qwen3-VL-Embedding-2B"`, or `"pocket"`. An existing folder is taken
            as it is, before any hub is asked.
        kind: Which of the pocket models is meant.
        revision: Commit, tag or branch of the hub; `None` is the hub's default branch.
        model_hub: Which hub an id belongs to.
        token: Access token of the hub; `None` uses the one the hub's own client has stored.
        cache_dir: Where downloads are kept; `None` is the hub's own default.
        local_files_only: Never contact the hub.
        with_weights: Whether the weights are needed; tokenizer and configuration are a hundredth of their size.

    Raises:
        ModelError: The folder or repository does not exist, cannot be reached or read, holds another family of
            models, or needs a package that is not installed.
    """
    if model_hub not in get_args(ModelHub):
        raise ModelError(f"model_hub {model_hub!r} is unknown; allowed are 'huggingface' and 'modelscope'")
    local = _locate_locally(name_or_path, kind, revision, with_weights)
    if local is not None:
        return local
    options: dict[str, Any] = {
        "revision": revision,
        "token": token,
        "cache_dir": None if cache_dir is None else str(cache_dir),
        "local_files_only": local_files_only,
    }
    if model_hub == "modelscope":
        return _download_from_modelscope(str(name_or_path), options, with_weights)
    return _download_from_huggingface(str(name_or_path), options, with_weights)


def _locate_locally(
    name_or_path: str | Path, kind: ModelKind, revision: str | None, with_weights: bool
) -> Checkpoint | None:
    """Returns `None` for what can only be a hub id."""
    if name_or_path == "pocket":
        return _locate_pocket(kind, revision)
    if name_or_path == "":
        raise ModelError(
            "an empty model name was given; pass a folder, or a hub id such as 'Qwen/Qwen3-VL-Embedding-2B'"
        )
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return _describe_folder(folder, revision, with_weights)
    if isinstance(name_or_path, Path) or _is_path_like(name_or_path):
        raise ModelError(_explain_missing_folder(folder))
    return None


def _is_path_like(name: str) -> bool:
    """Whether `name` cannot be a hub id, which is a name, or an owner and a name."""
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1 or name.endswith("/")


def _explain_missing_folder(folder: Path) -> str:
    if folder.is_file():
        return f"{str(folder)!r} is a file; pass the folder that holds config.json and the *.safetensors files"
    return (
        f"the folder {str(folder)!r} does not exist; pass an existing folder, or a hub id such as "
        "'Qwen/Qwen3-VL-Embedding-2B'"
    )


def _describe_folder(folder: Path, revision: str | None, with_weights: bool) -> Checkpoint:
    if revision is not None:
        raise ModelError(
            f"revision={revision!r} was given with the local folder {str(folder)!r}, which has only one; "
            "leave revision out, or pass a hub id"
        )
    check_model_type(folder)
    has_weights = with_weights or any(folder.glob("*.safetensors"))
    return Checkpoint(folder.resolve().name, hash_weight_files(folder) if has_weights else "", folder)


def _locate_pocket(kind: ModelKind, revision: str | None) -> Checkpoint:
    if revision is not None:
        raise ModelError(f"revision={revision!r} was given with 'pocket', whose version is the installed package's")
    try:
        pocket = cast("Any", importlib.import_module("qwen3_vl_pocket"))
    except ModuleNotFoundError as error:
        raise ModelError("'pocket' needs its own package: pip install qwen3-vl-pocket") from error
    folder = Path(pocket.checkpoint_folder(kind))
    return Checkpoint("pocket", hash_weight_files(folder), folder)


def _download_from_huggingface(name: str, options: dict[str, Any], with_weights: bool) -> Checkpoint:
    try:
        # The configuration comes first: gigabytes of a model that cannot be used are never fetched. It also
        # resolves a branch to a commit once, so both downloads are of the same state.
        first = _fetch(name, ["config.json"], options)
        check_model_type(first)
        is_pinned = first.parent.name == "snapshots"
        if is_pinned:
            options = {**options, "revision": first.name}
        folder = _fetch(name, _FILES if with_weights else _SMALL_FILES, options)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ModelError(_explain_hub_error(name, options, error)) from error
    if not with_weights:
        return Checkpoint(name, folder.name if is_pinned else "", folder)
    try:
        list_weight_files(folder)
    except ModelError as error:
        # Without a network the hub's client returns whatever part of the repository is in the cache.
        raise ModelError(f"only a part of model {name!r} is in the cache ({error}); {_OFFLINE_ADVICE}") from error
    return Checkpoint(name, folder.name if is_pinned else hash_weight_files(folder), folder)


def _fetch(name: str, patterns: list[str], options: dict[str, Any]) -> Path:
    return Path(cast("Any", snapshot_download)(name, allow_patterns=patterns, **options))


def _explain_hub_error(name: str, options: dict[str, Any], error: Exception) -> str:
    tried = f"model {name!r} on the Hugging Face hub"
    match error:
        case GatedRepoError():
            return f"{tried} is gated: accept its terms on its page, then pass token= or run `hf auth login`"
        case RepositoryNotFoundError():
            return (
                f"{tried} was not found: it is neither a local folder nor a public repository; check the spelling, "
                "and pass token= if it is private"
            )
        case RevisionNotFoundError():
            return f"{tried} has no revision {options['revision']!r}; pass a commit, tag or branch that exists"
        case HFValidationError():
            return f"{name!r} is neither a local folder nor a valid hub id ({error})"
        case LocalEntryNotFoundError() if options["local_files_only"]:
            return f"{tried} is not in the cache and local_files_only=True forbids the download; {_OFFLINE_ADVICE}"
        case _:
            return f"{tried} could not be downloaded ({type(error).__name__}: {error}); {_OFFLINE_ADVICE}"


def _download_from_modelscope(name: str, options: dict[str, Any], with_weights: bool) -> Checkpoint:
    try:
        modelscope = cast("Any", importlib.import_module("modelscope"))
    except ModuleNotFoundError as error:
        raise ModelError(
            'model_hub="modelscope" needs ModelScope\'s client: pip install "qwen3-vl-retrieval[modelscope]"'
        ) from error
    try:
        check_model_type(Path(modelscope.snapshot_download(name, allow_patterns=["config.json"], **options)))
        patterns = _FILES if with_weights else _SMALL_FILES
        folder = Path(modelscope.snapshot_download(name, allow_patterns=patterns, **options))
    except ModelError:
        raise
    except Exception as error:  # the client raises its own, requests' and urllib's errors, without a common base
        raise ModelError(
            f"model {name!r} could not be downloaded from ModelScope ({type(error).__name__}: {error}); "
            f"{_OFFLINE_ADVICE}"
        ) from error
    # ModelScope's client does not say which commit it fetched; the weights do.
    return Checkpoint(name, hash_weight_files(folder) if with_weights else "", folder)
