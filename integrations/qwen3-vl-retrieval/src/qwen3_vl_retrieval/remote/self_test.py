"""Asks a server what it makes of known prompts, and names the setting that is wrong.

A server that is set up wrongly answers with numbers that look right. What gives it away is compared here, once per
server: which tokens it makes of a text, of a small and a large image and of a video, and, where the golden figures of
the model are known, two vectors or two judgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.requests.preparation import RequestPreparer
from qwen3_vl_retrieval.errors import ModelError, quote
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.outputs.scoring import compute_probabilities
from qwen3_vl_retrieval.prompting.prompts import DEFAULT_INSTRUCTION, DEFAULT_RERANKING_INSTRUCTION, END_OF_TEXT, Role
from qwen3_vl_retrieval.prompting.tokenization import PromptTokenizer
from qwen3_vl_retrieval.remote.connection import Connection, RefusedRequestError
from qwen3_vl_retrieval.remote.golden import PROBE_QUERY, PROBES, GoldenFigures, draw_probe_image
from qwen3_vl_retrieval.remote.vllm_embedding import VllmEmbedding
from qwen3_vl_retrieval.remote.vllm_prompts import build_pair_prompt
from qwen3_vl_retrieval.remote.vllm_scoring import VllmScoring

__all__ = ["SelfTest", "check_answers", "check_vllm_embedding", "check_vllm_scoring"]

_LARGE_PIXELS = (1440, 1280)
"""As many pixels as the official scripts show at most: servers with lower limits shrink it."""

_MIN_COSINE = 0.995
"""bfloat16 on a server moves a state by less; each wrong setting that was tried moves it by more, but for images that
the server resizes, whose tokens give it away."""

_MARGIN_SHARE = 0.1
_MARGIN_OFFSET = 0.5
"""How far log-odds may lie from golden ones: bfloat16 has steps of 1/16 at 16."""

_TRUSTED_OPTION = "--trust-request-mm-kwargs"

_PIXEL_OPTION = '--mm-processor-kwargs \'{"images_kwargs": {"min_pixels": 4096, "max_pixels": 1843200}}\''

_ADVICE = "`qwen3vl vllm-command` prints the whole command"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What was compared with a server.

    Attributes:
        compared: The parts that agree: `"tokens"`, and `"vectors"` or `"scores"` where golden figures are known.
        video_refusal: Why the server cannot be sent videos; `None` if it can.
    """

    compared: tuple[str, ...]
    video_refusal: str | None = None


async def check_vllm_embedding(
    connection: Connection,
    route: VllmEmbedding,
    preparer: RequestPreparer,
    tokenizer: PromptTokenizer,
    *,
    golden: GoldenFigures | None,
) -> SelfTest:
    """Returns what agrees between a vLLM and the embedding model that it is to serve.

    Args:
        connection: The server.
        route: How it is asked.
        preparer: Builds the model's prompts.
        tokenizer: The model's tokenizer.
        golden: The model's golden figures, if they are known.

    Raises:
        ModelError: Something differs; the message names the setting.
        RemoteError: The server cannot be reached.
    """
    name = route.name

    def prepare(items: Sequence[Item]) -> list[Any]:
        return preparer.prepare_items(items, instruction=DEFAULT_INSTRUCTION)

    text, image = prepare(list(PROBES.values()))
    large, video = prepare([{"image": draw_probe_image(*_LARGE_PIXELS)}, _draw_video()])
    where = connection.base_url
    try:
        text_row = await route.compute(connection, [text])
    except RefusedRequestError as error:
        raise ModelError(
            f"{where} serves {quote(name)} without embeddings ({error}): it is a reranker or a chat model; start vLLM "
            f"with an embedding model and --runner pooling. {_ADVICE}"
        ) from error
    await _check_text_tokens(connection, text, tokenizer, name)
    for request in (image, large):
        found = await _tokenize(connection, {"model": name, **route.build_conversations([request])})
        _compare_tokens(request, found, tokenizer, where=where)
    refusal = await _try_video(connection, video, {"model": name, **route.build_conversations([video])})
    image_row = await route.compute(connection, [image])
    check_answers(np.concatenate([text_row, image_row]), golden, where=where)
    compared = ("tokens",) if golden is None else ("tokens", "vectors")
    return SelfTest(compared=compared, video_refusal=refusal)


async def check_vllm_scoring(
    connection: Connection,
    route: VllmScoring,
    preparer: RequestPreparer,
    tokenizer: PromptTokenizer,
    *,
    golden: GoldenFigures | None,
) -> SelfTest:
    """Returns what agrees between a vLLM and the reranker that it is to serve; as `check_vllm_embedding`."""
    name = route.name

    def prepare(documents: Sequence[Item]) -> list[Any]:
        return preparer.prepare_pairs(PROBE_QUERY, documents, instruction=DEFAULT_RERANKING_INSTRUCTION)

    text, image = prepare(list(PROBES.values()))
    large, video = prepare([{"image": draw_probe_image(*_LARGE_PIXELS)}, _draw_video()])
    where = connection.base_url
    try:
        text_row = await route.compute(connection, [text])
    except RefusedRequestError as error:
        raise ModelError(
            f"{where} serves {quote(name)} without judgements ({error}): it is an embedding model, or a reranker that "
            "was started without --hf-overrides, whose /score and /rerank would answer with cosines that look like "
            f"scores. {_ADVICE}"
        ) from error
    await _check_score_template(connection, text, route, tokenizer)
    for request in (image, large):
        found = await _tokenize(connection, _as_prompt(name, route.build_conversation(request)))
        _compare_tokens(request, found, tokenizer, where=where)
    refusal = await _try_video(connection, video, _as_prompt(name, route.build_conversation(video)))
    image_row = await route.compute(connection, [image])
    check_answers(np.concatenate([text_row, image_row]), golden, where=where)
    return SelfTest(compared=("tokens",) if golden is None else ("tokens", "scores"), video_refusal=refusal)


def check_answers(found: npt.NDArray[np.float32], golden: GoldenFigures | None, *, where: str) -> None:
    """Compares what a server computes of `PROBES` with the golden figures, if they are known.

    Raises:
        ModelError: The server computes something else.
    """
    if golden is None:
        return
    for (probe, expected), values in zip(golden.answers.items(), found, strict=True):
        if golden.kind == "embedding":
            cosine = float(values @ expected / (np.linalg.norm(values) * np.linalg.norm(expected)))
            if not cosine >= _MIN_COSINE:
                raise ModelError(
                    f"{where} makes another vector of the {probe} of the self-test than {golden.model!r} (cosine "
                    f"{cosine:.3f}), of the same tokens: it serves other weights, or does not pool the last token"
                )
            continue
        _check_margin(float(values[0]), float(expected[0]), probe, golden, where)


def _check_margin(found: float, expected: float, probe: str, golden: GoldenFigures, where: str) -> None:
    bound = _MARGIN_OFFSET + _MARGIN_SHARE * abs(expected)
    if abs(found - expected) <= bound:
        return
    scores = compute_probabilities(np.array([found, expected], dtype=np.float32))
    if abs(found + expected) <= bound:
        raise ModelError(
            f"{where} takes yes for no: the {probe} of the self-test gets {scores[0]:.3f}, and its complement "
            f'{scores[1]:.3f} is right; write "classifier_from_token": ["no", "yes"] into --hf-overrides, in this order'
        )
    raise ModelError(
        f"{where} judges the {probe} of the self-test otherwise than {golden.model!r}: {scores[0]:.3f} instead of "
        f"{scores[1]:.3f}, of the same tokens; it serves other weights, or --hf-overrides names other tokens than "
        '["no", "yes"]'
    )


async def _check_text_tokens(connection: Connection, request: Request, tokenizer: PromptTokenizer, name: str) -> None:
    """Compares what the server's tokenizer makes of a prompt written as text."""
    prompt = tokenizer.decode(request.tokens.token_ids[:-1])
    found = await _tokenize(connection, {"model": name, "prompt": prompt, "add_special_tokens": True})
    _compare_tokens(request, found, tokenizer, where=connection.base_url)


async def _check_score_template(
    connection: Connection, request: Request, route: VllmScoring, tokenizer: PromptTokenizer
) -> None:
    """Compares how many tokens the server makes of a pair of texts that its own chat template shows."""
    body = {
        "model": route.name,
        "use_activation": False,
        **route.build_pair(request, build_pair_prompt(request, tokenizer)),
    }
    where = connection.base_url
    try:
        answer = await connection.post("/score", body)
        count = int(answer["usage"]["prompt_tokens"])
    except RefusedRequestError as error:
        raise ModelError(f"{where} cannot show a pair: {error.reason}. {_ADVICE}") from error
    expected = len(request)
    if count == expected:
        return
    if count == expected - 1:
        raise ModelError(
            f"{where} makes {count} tokens of a pair of {expected}: its chat template ends in one newline too few, "
            f"which Jinja takes off the end of a file; take the template that this package has. {_ADVICE}"
        )
    texts = int(np.count_nonzero(request.tokens.mark_roles(Role.QUERY, Role.DOCUMENT)))
    if count <= texts + 4:
        raise ModelError(
            f"{where} makes {count} tokens of a pair of {expected}: it shows query and document without any template; "
            f"start vLLM with --chat-template and the file that this package has. {_ADVICE}"
        )
    raise ModelError(
        f"{where} makes {count} tokens of a pair of {expected}: its chat template is another than the official prompt. "
        f"{_ADVICE}"
    )


async def _try_video(connection: Connection, request: Request, body: dict[str, Any]) -> str | None:
    """Why the server cannot be sent videos; `None` if it can."""
    where = connection.base_url
    try:
        found = await connection.post("/tokenize", body)
    except RefusedRequestError as error:
        return (
            f"{where} takes no settings with a request ({error.reason}), and without them shows other frames of a "
            f"video; start vLLM with {_TRUSTED_OPTION}"
        )
    tokens: list[int] = found["tokens"]
    if tokens == request.tokens.token_ids.tolist():
        return None
    if len(tokens) == len(request) + 2:
        return (
            f"{where} puts a pair of marks around a video that the official prompt has not: its chat template is not "
            f"the one that this package has. {_ADVICE}"
        )
    return (
        f"{where} makes {len(tokens)} tokens of a video of {len(request)}: it shows other frames, or in another size. "
        f"{_ADVICE}"
    )


async def _tokenize(connection: Connection, body: dict[str, Any]) -> list[int]:
    try:
        answer = await connection.post("/tokenize", body)
        return [int(token) for token in answer["tokens"]]
    except RefusedRequestError as error:
        raise ModelError(
            f"{connection.base_url} does not tokenize a prompt ({error}): it has no chat template for it, or takes no "
            f"images. {_ADVICE}"
        ) from error


def _compare_tokens(request: Request, found: list[int], tokenizer: PromptTokenizer, *, where: str) -> None:
    """Raises `ModelError` with the setting that is wrong, unless the tokens are those of the request."""
    expected = request.tokens.token_ids.tolist()
    if found == expected:
        return
    if found == expected[:-1]:
        raise ModelError(
            f"{where} does not end the prompt with {END_OF_TEXT}, whose state is the vector: the tokenizer that it "
            "serves is not that of the embedding model; download its tokenizer.json again, or pass --tokenizer"
        )
    placeholders = tokenizer.placeholder_ids
    shown, due = (sum(token in placeholders for token in tokens) for tokens in (found, expected))
    if shown != due and [t for t in found if t not in placeholders] == [t for t in expected if t not in placeholders]:
        size = request.media[0].slot
        raise ModelError(
            f"{where} makes {shown} visual tokens of an image of {32 * size.width}×{32 * size.height} pixels, and the "
            f"official scripts {due}: its pixel limits are others; start vLLM with {_PIXEL_OPTION}"
        )
    place = next(
        (at for at, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other),
        min(len(found), len(expected)),
    )
    got, wanted = (_show_tokens(tokens[place : place + 8], tokenizer) for tokens in (found, expected))
    raise ModelError(
        f"{where} makes {len(found)} tokens of a prompt of {len(expected)}, which differ from the {place + 1}th on: "
        f"{got} instead of {wanted}. Its chat template or tokenizer is another; {_ADVICE}"
    )


def _show_tokens(tokens: list[int], tokenizer: PromptTokenizer) -> str:
    return quote(tokenizer.decode(np.array(tokens, dtype=np.int32))) if tokens else "the end"


def _as_prompt(name: str, conversation: dict[str, Any]) -> dict[str, Any]:
    """The fields of `/tokenize` for a template that ends the prompt itself."""
    return {"model": name, "add_generation_prompt": False, "add_special_tokens": False, **conversation}


def _draw_video() -> Item:
    frames = [draw_probe_image(96, 64).rotate(90 * turn) for turn in range(4)]
    return {"video": frames, "fps": 1.0, "text": "Four frames."}
