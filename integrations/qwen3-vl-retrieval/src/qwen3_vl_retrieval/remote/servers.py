"""What serves a model at an address: vLLM or `qwen3vl serve`, found out by asking."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from tokenizers import Tokenizer

from qwen3_vl_retrieval.errors import ModelError, RemoteError, explain, quote
from qwen3_vl_retrieval.loading.defaults import RetrievalDefaults
from qwen3_vl_retrieval.media.budgets import FrameSampling, PixelBudget
from qwen3_vl_retrieval.prompting.prompts import PROMPT_VERSION
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint
from qwen3_vl_retrieval.remote.connection import Connection, RefusedRequestError
from qwen3_vl_retrieval.remote.served_engine import ServedRole

__all__ = ["OwnServer", "VllmServer", "find_server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmServer:
    """A vLLM that serves a model.

    Attributes:
        version: Its version.
        name: Name of the model there.
        root: What it was started with: a hub id, or a folder of its machine.
        max_length: Tokens that it takes at most.
    """

    version: str
    name: str
    root: str
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """A `qwen3vl serve` that has a model.

    Attributes:
        version: Version of this package there.
        checkpoint: What it says of the model.
        max_length: Tokens that it takes at most.
    """

    version: str
    checkpoint: RemoteCheckpoint
    max_length: int


async def find_server(connection: Connection, name: str | None, *, role: ServedRole) -> VllmServer | OwnServer:
    """Returns what is at the address of a connection.

    Args:
        connection: The address.
        name: Name of the model on a vLLM; `None` takes the only one that it serves.
        role: Whether an embedder or a reranker is wanted.

    Raises:
        ModelError: It serves no such model, or with other prompts than this version has.
        RemoteError: Nothing is there, or something else.
    """
    try:
        description = await connection.get("/v1/engine")
    except RefusedRequestError as error:
        if error.status != 404:
            raise RemoteError(f"{connection.base_url} does not say what it serves: {error}") from error
        return await _find_vllm(connection, name)
    return await _find_own(connection, description, role)


async def _find_own(connection: Connection, description: Any, role: ServedRole) -> OwnServer:
    where = connection.base_url
    try:
        version, prompt_version = str(description["version"]), str(description["prompt_version"])
        served = cast("dict[str, Any] | None", description[role])
    except (KeyError, TypeError) as error:
        raise RemoteError(f"{where} does not say what it serves: {quote(description)}") from error
    if prompt_version != PROMPT_VERSION:
        raise ModelError(
            f"{where} runs version {version} of this package, whose prompts ({prompt_version}) are not those of the "
            f"version here ({PROMPT_VERSION}); install the same version on both sides"
        )
    if served is None:
        raise ModelError(f"{where} serves no {role}; start it with --{role}")
    written = await connection.get(f"/v1/engine/{role}/tokenizer")
    try:
        checkpoint = RemoteCheckpoint(
            model_id=str(served["model"]),
            revision=str(served["revision"]),
            hidden_size=int(served["hidden_size"]),
            tokenizer=PromptTokenizer(Tokenizer.from_str(json.dumps(written))),
            defaults=RetrievalDefaults(
                pixel_budget=PixelBudget(**served["pixel_budget"]),
                frame_sampling=FrameSampling(**served["frame_sampling"]),
            ),
        )
        return OwnServer(version=version, checkpoint=checkpoint, max_length=int(served["max_length"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RemoteError(f"{where} describes its {role} otherwise than this version: {explain(error)}") from error


async def _find_vllm(connection: Connection, name: str | None) -> VllmServer:
    where = connection.base_url
    try:
        version = str((await connection.get("/version"))["version"])
        served = {str(model["id"]): model for model in (await connection.get("/v1/models"))["data"]}
    except (RefusedRequestError, KeyError, TypeError) as error:
        raise RemoteError(
            f"{where} is neither vLLM nor `qwen3vl serve`: it does not answer GET /v1/engine, /version and /v1/models "
            f"as they do ({explain(error)})"
        ) from error
    names = sorted(served)
    if name is None and len(names) == 1:
        (name,) = names
    if name not in served:
        raise ModelError(f"{where} serves no {quote(name)}; it serves {', '.join(map(quote, names))}")
    described = served[name]
    root = str(described.get("root") or name)
    return VllmServer(version=version, name=name, root=root, max_length=int(described["max_model_len"]))
