"""From an address to an engine: what is there, what its model is, and whether it computes what the model computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from qwen3_vl_retrieval.engine.requests.preparation import build_preparer
from qwen3_vl_retrieval.errors import ModelError, quote
from qwen3_vl_retrieval.forks import ForkSafeLock
from qwen3_vl_retrieval.options import RERANKING_MAX_LENGTH, HubOptions, ModelKind, split_options
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION, DEFAULT_RERANKING_INSTRUCTION
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint, read_checkpoint
from qwen3_vl_retrieval.remote.connection import Connection, ConnectionOptions
from qwen3_vl_retrieval.remote.engine import RemoteEngine
from qwen3_vl_retrieval.remote.golden import FILE_NAME, PROBE_QUERY, PROBES, GoldenFigures, find_golden_figures
from qwen3_vl_retrieval.remote.self_test import SelfTest, check_answers, check_vllm_embedding, check_vllm_scoring
from qwen3_vl_retrieval.remote.served_engine import ServedEngine, ServedRole
from qwen3_vl_retrieval.remote.servers import OwnServer, VllmServer, find_server
from qwen3_vl_retrieval.remote.vllm_embedding import VllmEmbedding
from qwen3_vl_retrieval.remote.vllm_scoring import VllmScoring

__all__ = ["ConnectedEngine", "connect_engine"]

_ROLES: Mapping[ModelKind, ServedRole] = {"embedding": "embedder", "reranker": "reranker"}

_ERROR_ROLES: Mapping[ModelKind, str] = {"embedding": "item", "reranker": "document"}

_TESTED: dict[tuple[str, str, str, str, bool], SelfTest] = {}
"""What was found out in this process, by address, version, model, revision, and whether golden figures were known."""

_TESTING = ForkSafeLock()


class ConnectingOptions(ConnectionOptions, HubOptions, total=False):
    """How a server is spoken to, and where its checkpoint is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedEngine:
    """An engine elsewhere with its model.

    Attributes:
        engine: The server, and how it is asked.
        checkpoint: The model's tokenizer, sizes and name.
        self_test: What was compared with the server; `None` if nothing was.
    """

    engine: RemoteEngine
    checkpoint: RemoteCheckpoint
    self_test: SelfTest | None


def connect_engine(
    base_url: str,
    kind: ModelKind,
    *,
    name: str | None,
    checkpoint: str | Path | None,
    golden: Path | None,
    verify: bool,
    **options: Unpack[ConnectingOptions],
) -> ConnectedEngine:
    """Returns the engine at an address.

    Args:
        base_url: The address.
        kind: Whether it is to embed or to judge.
        name: Name of the model on a vLLM.
        checkpoint: Where tokenizer and sizes are read from.
        golden: File of golden figures.
        verify: Whether the server is tested.
        **options: See `ConnectionOptions` and `HubOptions`.

    Raises:
        ModelError: The server has no such model, or another setting than the model needs.
        RemoteError: The server cannot be reached, or is none of those that are known.
    """
    how, hub = split_options(options, ConnectionOptions, HubOptions)
    connection = Connection(base_url, **how)
    try:
        server = connection.start(find_server(connection, name, role=_ROLES[kind])).result()
        known = _find_checkpoint(server, kind, checkpoint, base_url, hub)
        figures = find_golden_figures(known, kind, golden)
        if not known.revision:
            known = _take_revision(known, figures)
        return _build(connection, server, known, kind, figures, verify)
    except BaseException:
        connection.close()
        raise


def _find_checkpoint(
    server: VllmServer | OwnServer, kind: ModelKind, given: str | Path | None, base_url: str, hub: Mapping[str, Any]
) -> RemoteCheckpoint:
    if isinstance(server, OwnServer):
        if given is None or (str(given) == server.checkpoint.model_id and not hub):
            return server.checkpoint
        expected = read_checkpoint(given, kind=kind, **hub)
        served = server.checkpoint
        if expected.revision and served.revision and expected.revision != served.revision:
            raise ModelError(
                f"{base_url} serves {served.model_id!r} of revision {served.revision}, and the checkpoint that was "
                f"given is {expected.model_id!r} of revision {expected.revision}; give the one that is served, or none"
            )
        return served
    # What vLLM was started with is a name on the hub, or a folder that may be here as well.
    try:
        return read_checkpoint(server.root if given is None else given, kind=kind, **hub)
    except ModelError as error:
        if given is not None:
            raise
        raise ModelError(
            f"{base_url} serves {quote(server.root)}, which cannot be read here ({error}); pass checkpoint= with the "
            "model's folder or hub id (no weights are downloaded)"
        ) from error


def _take_revision(checkpoint: RemoteCheckpoint, figures: GoldenFigures | None) -> RemoteCheckpoint:
    if figures is None:
        raise ModelError(
            f"of {checkpoint.model_id!r} there are no weights here, and nothing says which revision they would be; "
            "stores are bound to it. Pass golden= with a file of `qwen3vl golden`, or put it into the folder as "
            f"{FILE_NAME}"
        )
    return replace(checkpoint, model_id=figures.model, revision=figures.revision)


def _build(
    connection: Connection,
    server: VllmServer | OwnServer,
    checkpoint: RemoteCheckpoint,
    kind: ModelKind,
    figures: GoldenFigures | None,
    verify: bool,
) -> ConnectedEngine:
    name = server.name if isinstance(server, VllmServer) else kind
    key = (connection.base_url, server.version, name, checkpoint.revision, figures is not None)
    tested = None
    if verify:
        with _TESTING:
            tested = _TESTED.get(key)
            if tested is None:
                _TESTED[key] = tested = _test(connection, server, checkpoint, kind, figures)
    refusal = None if tested is None else tested.video_refusal
    engine = RemoteEngine(connection, _choose_route(server, checkpoint, kind, refusal), role=_ERROR_ROLES[kind])
    return ConnectedEngine(engine=engine, checkpoint=checkpoint, self_test=tested)


def _choose_route(
    server: VllmServer | OwnServer, checkpoint: RemoteCheckpoint, kind: ModelKind, video_refusal: str | None
) -> VllmEmbedding | VllmScoring | ServedEngine:
    if isinstance(server, OwnServer):
        return ServedEngine(role=_ROLES[kind], width=checkpoint.hidden_size if kind == "embedding" else 1)
    shared: dict[str, Any] = {
        "name": server.name,
        "tokenizer": checkpoint.tokenizer,
        "max_length": server.max_length,
        "video_refusal": video_refusal,
    }
    return VllmEmbedding(width=checkpoint.hidden_size, **shared) if kind == "embedding" else VllmScoring(**shared)


def _test(
    connection: Connection,
    server: VllmServer | OwnServer,
    checkpoint: RemoteCheckpoint,
    kind: ModelKind,
    figures: GoldenFigures | None,
) -> SelfTest:
    route = _choose_route(server, checkpoint, kind, None)
    preparer = build_preparer(
        checkpoint.tokenizer,
        role=_ERROR_ROLES[kind],
        max_length=RERANKING_MAX_LENGTH,
        on_overflow="error",
        **checkpoint.choose_sight({}),
    )
    tokenizer = checkpoint.tokenizer
    if isinstance(route, VllmEmbedding):
        check = check_vllm_embedding(connection, route, preparer, tokenizer, golden=figures)
        return connection.start(check).result()
    if isinstance(route, VllmScoring):
        check = check_vllm_scoring(connection, route, preparer, tokenizer, golden=figures)
        return connection.start(check).result()
    items = list(PROBES.values())
    if kind == "embedding":
        prepared = preparer.prepare_items(items, instruction=DEFAULT_INSTRUCTION)
    else:
        prepared = preparer.prepare_pairs(PROBE_QUERY, items, instruction=DEFAULT_RERANKING_INSTRUCTION)
    outcome = RemoteEngine(connection, route, role=_ERROR_ROLES[kind]).run(prepared)
    outcome.raise_failures("raise")
    check_answers(outcome.values, figures, where=connection.base_url)
    return SelfTest(
        compared=("tokens",) if figures is None else ("tokens", "vectors" if kind == "embedding" else "scores")
    )
