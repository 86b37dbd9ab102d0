"""Runs requests through the model: token-budget batches, split when the memory does not suffice."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from qwen3_vl_retrieval.batching import plan_batches, split_batch
from qwen3_vl_retrieval.engine.failures import Outcome
from qwen3_vl_retrieval.engine.requests import Request
from qwen3_vl_retrieval.engine.vision import Pixels, VisionEncoder, VisionFeatures
from qwen3_vl_retrieval.errors import InputError
from qwen3_vl_retrieval.patches import PatchLayout
from qwen3_vl_retrieval.pooling import pool_last_token
from qwen3_vl_retrieval.positions import compute_positions
from qwen3_vl_retrieval.prompts import Role

__all__ = ["Executor", "choose_max_batch_tokens"]


def choose_max_batch_tokens(device: torch.device) -> int:
    """Returns the first guess of how many tokens a forward pass may hold; an out-of-memory error lowers it."""
    return {"cuda": 32_768, "mps": 8_192}.get(device.type, 4_096)


class Executor:
    """One model on one device. Any number of threads may call `run`; forward passes take turns.

    Attributes:
        max_batch_tokens: Tokens in a batch at most, padding included; lowered when the memory did not suffice.
    """

    def __init__(
        self, model: Any, layout: PatchLayout, *, padding_id: int, max_batch_tokens: int | None = None
    ) -> None:
        self._model = model
        self._vision = VisionEncoder(model.visual, layout)
        self._padding_id = padding_id
        self._lock = threading.Lock()
        self.max_batch_tokens = choose_max_batch_tokens(self.device) if max_batch_tokens is None else max_batch_tokens

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self._model.device

    @property
    def hidden_size(self) -> int:
        """Length of a hidden state."""
        return int(self._model.config.text_config.hidden_size)

    def run(
        self,
        requests: Sequence[Request],
        *,
        shared_keys: frozenset[bytes] = frozenset(),
        on_progress: Callable[[int], None] | None = None,
    ) -> Outcome:
        """Returns the state of each request's last token, in the order of `requests`.

        Args:
            requests: Rows to compute.
            shared_keys: Media of all requests (a query's pictures), whose features are kept for the whole run.
            on_progress: Called with the number of rows that a batch finished.

        Raises:
            torch.OutOfMemoryError: A single request does not fit the memory.
        """
        outcome = Outcome(torch.zeros(len(requests), self.hidden_size))
        lengths = [len(request) for request in requests]
        batches = deque(plan_batches(lengths, max_batch_tokens=self.max_batch_tokens))
        shared: dict[bytes, VisionFeatures] = {}
        while batches:
            batch = batches.popleft()
            readable, pixels = _load_pixels(requests, batch, shared, outcome.failures)
            if readable:
                computed = self._compute_if_it_fits([requests[position] for position in readable], pixels, shared)
                if computed is None:
                    batches.extendleft(reversed(split_batch(batch)))
                    self._lower_budget(max(lengths[position] for position in batch) * len(batch) // 2)
                    continue
                hidden_states, features = computed
                shared = {key: value for key, value in features.items() if key in shared_keys}
                outcome.hidden_states[readable] = hidden_states
            if on_progress is not None:
                on_progress(len(batch))
        return outcome

    def _lower_budget(self, tokens: int) -> None:
        """Keeps what was learnt for the batches of later calls; those of this call are split as they come."""
        self.max_batch_tokens = min(self.max_batch_tokens, max(tokens, 1))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _compute_if_it_fits(
        self, rows: Sequence[Request], pixels: Pixels, shared: dict[bytes, VisionFeatures]
    ) -> tuple[Float32[Tensor, "batch hidden"], dict[bytes, VisionFeatures]] | None:
        """What `_compute` returns, or `None` if several rows did not fit the memory.

        A function of its own, so that the error and the tensors that its traceback holds are gone when it returns.
        """
        try:
            return self._compute(rows, pixels, shared)
        except RuntimeError as error:
            if len(rows) == 1 or not _is_out_of_memory(error):
                raise
            return None

    @torch.inference_mode()
    def _compute(
        self, rows: Sequence[Request], pixels: Pixels, shared: dict[bytes, VisionFeatures]
    ) -> tuple[Float32[Tensor, "batch hidden"], dict[bytes, VisionFeatures]]:
        media = [item for row in rows for item in row.media]
        with self._lock:
            features = self._vision.encode(media, pixels, shared)
            return self._compute_language(rows, [features[item.key] for item in media]), features

    def _compute_language(
        self, rows: Sequence[Request], visuals: Sequence[VisionFeatures]
    ) -> Float32[Tensor, "batch hidden"]:
        """Right padding needs no mask: under causal attention no real token sees a padded one."""
        longest = max(len(row) for row in rows)
        token_ids = np.full((len(rows), longest), self._padding_id, dtype=np.int64)
        is_visual = np.zeros((len(rows), longest), dtype=np.bool_)
        # The first of the four rows numbers the tokens for the mask (transformers takes repeated temporal positions
        # for the boundary of packed sequences otherwise); the others are the rotary positions.
        positions = np.zeros((4, len(rows), longest), dtype=np.int64)
        positions[0] = np.arange(longest)
        for row, request in enumerate(rows):
            length = len(request)
            token_ids[row, :length] = request.tokens.token_ids
            is_visual[row, :length] = request.tokens.roles == Role.VISUAL
            positions[1:, row, :length] = compute_positions(request.tokens)
        language_model = self._model.language_model
        embeddings = language_model.get_input_embeddings()(torch.from_numpy(token_ids).to(self.device))
        visual_mask, deepstack = None, None
        if visuals:
            visual_mask = torch.from_numpy(is_visual).to(self.device)
            embeddings[visual_mask] = torch.cat([item.embeddings for item in visuals]).to(embeddings.dtype)
            deepstack = [torch.cat(layer) for layer in zip(*(item.deepstack for item in visuals), strict=True)]
        hidden_states: Float[Tensor, "batch length hidden"] = language_model(
            inputs_embeds=embeddings,
            position_ids=torch.from_numpy(positions).to(self.device),
            visual_pos_masks=visual_mask,
            deepstack_visual_embeds=deepstack,
            use_cache=False,
        ).last_hidden_state
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        return pool_last_token(hidden_states, lengths).to("cpu", torch.float32)


def _load_pixels(
    requests: Sequence[Request],
    batch: Sequence[int],
    known: dict[bytes, VisionFeatures],
    failures: dict[int, InputError],
) -> tuple[list[int], Pixels]:
    """The positions whose media can still be read, and its pixels by content key; the others go to `failures`."""
    readable: list[int] = []
    pixels: Pixels = {}
    for position in batch:
        try:
            for media in requests[position].media:
                if media.key not in known and media.key not in pixels:
                    pixels[media.key] = media.load()
            readable.append(position)
        except InputError as error:
            failures[position] = error
    return readable, pixels


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA has its own error class; MPS and the CPU allocator only a message."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    message = str(error)
    return "out of memory" in message or "can't allocate memory" in message
