"""What stands in for vLLM where there is none: its routes and its way to build prompts, over a model in process.

What it answers was measured with vLLM 0.32, and `test_real_vllm.py` asks the real one the same.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

import jinja2
import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from PIL import Image
from tokenizers import Tokenizer

from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker
from qwen3_vl_retrieval.engine.requests.builder import Request as EngineRequest
from qwen3_vl_retrieval.engine.requests.media_reader import PreparedMedia
from qwen3_vl_retrieval.media.sizing import fit_image_size
from qwen3_vl_retrieval.prompting.prompts import MediaSlot, Role, VisualRun
from qwen3_vl_retrieval.prompting.tokenization import TokenSequence

END = "<|endoftext|>"


class RefusedError(Exception):
    """What vLLM answers with 400."""


@dataclass(kw_only=True)
class StandIn:
    """A vLLM with one model.

    Attributes:
        model: The model in process.
        template: Its chat template; `None` if it was started without one.
        is_classifier: Whether `--hf-overrides` made a classifier of it.
        ends_prompts: Whether its tokenizer ends each prompt.
        trusts_requests: Whether requests may carry settings.
        min_pixels: Pixels below which images are enlarged.
        max_pixels: Pixels above which images are shrunk.
        sign: -1 takes yes for no.
        failures: Answers that are given before the right ones: statuses.
        asked: Paths that were asked for.
    """

    model: Qwen3VLEmbedder | Qwen3VLReranker
    template: str | None
    is_classifier: bool = False
    ends_prompts: bool = True
    trusts_requests: bool = True
    min_pixels: int = 4096
    max_pixels: int = 1843200
    sign: int = 1
    failures: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def create_app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/version")
        async def version() -> dict[str, str]:
            return {"version": "0.32.0"}

        @app.get("/v1/models")
        async def models() -> dict[str, Any]:
            return {"data": [{"id": "served", "root": "/models/served", "max_model_len": 8192}]}

        paths = (
            ["/tokenize", "/classify", "/score"] if self.is_classifier else ["/tokenize", "/v1/embeddings", "/score"]
        )
        for path in paths:
            app.add_api_route(path, self._answer, methods=["POST"])
        return app

    async def _answer(self, request: Request) -> JSONResponse:
        self.asked.append(request.url.path)
        if self.failures:
            return JSONResponse({"error": {"message": "busy"}}, self.failures.pop(0), {"Retry-After": "0"})
        body = await request.json()
        if body.get("media_io_kwargs") and not self.trusts_requests:
            return _refuse("start the server with --trust-request-mm-kwargs")
        try:
            prompts = self._read_prompts(request.url.path, body)
        except RefusedError as error:
            return _refuse(str(error))
        if request.url.path == "/tokenize":
            (prompt,) = prompts
            return JSONResponse({"tokens": prompt.tokens.token_ids.tolist(), "count": len(prompt)})
        usage = {"prompt_tokens": sum(map(len, prompts))}
        return JSONResponse({"data": await self._compute(request.url.path, prompts), "usage": usage})

    async def _compute(self, path: str, prompts: list[EngineRequest]) -> list[dict[str, Any]]:
        if isinstance(self.model, Qwen3VLEmbedder):
            states = (await self.model.acompute_states(prompts)).astype("<f4")
            if path == "/score":
                return [{"index": at, "score": 0.5} for at in range(len(prompts) // 2)]
            return [
                {"index": at, "embedding": base64.b64encode(state.tobytes()).decode()}
                for at, state in enumerate(states)
            ]
        margins = self.sign * await self.model.acompute_margins(prompts)
        name = "score" if path == "/score" else "probs"
        return [
            {"index": at, name: float(margin) if name == "score" else [float(margin)]}
            for at, margin in enumerate(margins)
        ]

    def _read_prompts(self, path: str, body: dict[str, Any]) -> list[EngineRequest]:
        if "input" in body:
            return [self._build(np.array(token_ids, np.int32), []) for token_ids in body["input"]]
        if "prompt" in body:
            return [self._tokenize(body["prompt"], [], ends=body["add_special_tokens"])]
        if path == "/score":
            return [self._show_pair(body, document) for document in body["documents"]]
        conversations = body["messages"] if isinstance(body["messages"][0], list) else [body["messages"]]
        return [self._show(messages, body) for messages in conversations]

    def _show_pair(self, body: dict[str, Any], document: dict[str, Any]) -> EngineRequest:
        """As `/score` does: images first, then the texts, joined by newlines; without a template, nothing else."""
        shown, media = [], []
        for content in (body["queries"]["content"], document["content"]):
            images = [part for part in content if part["type"] != "text"]
            media += [self._read_media(part, body) for part in images]
            texts = [part["text"] for part in content if part["type"] == "text"]
            shown.append("<|vision_start|><|image_pad|><|vision_end|>" * len(images) + "\n".join(texts))
        if self.template is None:
            return self._tokenize("".join(shown), media, ends=False)
        messages = [{"role": role, "content": text} for role, text in zip(("query", "document"), shown, strict=True)]
        return self._tokenize(self._render(messages, instruction=body["instruction"]), media, ends=False)

    def _show(self, messages: list[dict[str, Any]], body: dict[str, Any]) -> EngineRequest:
        media, plain = [], []
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                media += [self._read_media(part, body) for part in content if part["type"] != "text"]
                kinds = {"image_url": "image", "video_url": "video"}
                content = [part if part["type"] == "text" else {"type": kinds[part["type"]]} for part in content]
            plain.append({"role": message["role"], "content": content})
        is_open = body.get("continue_final_message", False)
        text = self._render(
            plain,
            add_generation_prompt=body.get("add_generation_prompt", False),
            **body.get("chat_template_kwargs", {}),
        )
        if is_open:
            text = text.removesuffix("<|im_end|>\n")
        return self._tokenize(text, media, ends=body.get("add_special_tokens", False))

    def _render(self, messages: list[dict[str, Any]], **values: Any) -> str:
        if self.template is None:
            raise RefusedError("there is no chat template")
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)  # noqa: S701 - prompts are no HTML
        return environment.from_string(self.template).render(messages=messages, **values)

    def _read_media(self, part: dict[str, Any], body: dict[str, Any]) -> PreparedMedia:
        if part["type"] == "video_url":
            settings = body["media_io_kwargs"]["video"]
            times = [number / settings["fps"] for number in settings["frames_indices"]]
            frames = [_decode(written) for written in part["video_url"]["url"].partition(",")[2].split(",")]
            pairs = tuple((times[at] + times[at + 1]) / 2 for at in range(0, len(times), 2))
            return _prepare(np.stack([np.asarray(frame) for frame in frames]), pairs)
        image = _decode(part["image_url"]["url"].partition(",")[2])
        size = fit_image_size(image.width, image.height, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        return _prepare(np.asarray(image.resize(size))[None], None)

    def _tokenize(self, text: str, media: list[PreparedMedia], *, ends: bool) -> EngineRequest:
        """As the processor does: each placeholder becomes as many as the image has, or the frames of the video."""
        waiting = iter(media)
        pieces = text.replace("<|video_pad|>", "<|image_pad|>").split("<|image_pad|>")
        expanded = pieces[0]
        for piece in pieces[1:]:
            slot = next(waiting).slot
            count = slot.height * slot.width
            if slot.timestamps is None:
                expanded += "<|image_pad|>" * count
            else:
                expanded += "".join(
                    f"<{time:.1f} seconds><|vision_start|>{'<|video_pad|>' * count}<|vision_end|>"
                    for time in slot.timestamps
                )
            expanded += piece
        tokenizer = Tokenizer.from_str(self.model.tokenizer.to_json())
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(expanded, add_special_tokens=False).ids
        ended = [tokenizer.token_to_id(END)] if ends and self.ends_prompts else []
        return self._build(np.array([*ids, *ended], np.int32), media)

    def _build(self, token_ids: np.ndarray, media: list[PreparedMedia]) -> EngineRequest:
        is_visual = np.isin(token_ids, self.model.tokenizer.placeholder_ids)
        visuals = tuple(
            VisualRun(one.slot.height, one.slot.width, is_video=one.slot.timestamps is not None)
            for one in media
            for _ in range(one.pair_count)
        )
        roles = np.where(is_visual, Role.VISUAL, Role.TEMPLATE).astype(np.uint8)
        return EngineRequest(TokenSequence(token_ids, roles, visuals), tuple(media))


def _refuse(reason: str) -> JSONResponse:
    return JSONResponse({"error": {"message": reason}}, 400)


def _decode(written: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(written))).convert("RGB")


def _prepare(pixels: np.ndarray, timestamps: tuple[float, ...] | None) -> PreparedMedia:
    _, height, width, _ = pixels.shape
    return PreparedMedia.from_pixels(MediaSlot(height // 32, width // 32, timestamps), pixels)
