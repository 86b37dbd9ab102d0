"""What of a run has to be computed: each request once, each shared beginning once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qwen3_vl_retrieval.engine.language.packed_model import PackedRow
from qwen3_vl_retrieval.engine.language.prefix_cache import PrefixKey
from qwen3_vl_retrieval.engine.requests.builder import Request
from qwen3_vl_retrieval.engine.vision.feature_cache import VisionFeatures
from qwen3_vl_retrieval.prompting.positions import compute_positions
from qwen3_vl_retrieval.prompting.prompts import Role

__all__ = ["Job", "build_row", "merge_equal", "plan_prefixes"]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request to compute, and whom its result is for.

    Attributes:
        request: It.
        positions: Of all requests that are equal to it.
        prefix: The beginning that is computed apart; `None` if it is not.
    """

    request: Request
    positions: tuple[int, ...]
    prefix: PrefixKey | None = None

    @property
    def prefix_length(self) -> int:
        """Tokens that are computed apart."""
        return 0 if self.prefix is None or self.request.prefix is None else self.request.prefix.length

    @property
    def own_length(self) -> int:
        """Tokens that pass through the model with this job."""
        return len(self.request) - self.prefix_length


def merge_equal(requests: Sequence[Request]) -> list[Job]:
    """Returns one job for all requests that have the same tokens and the same pixels, in the order of the first."""
    positions: dict[PrefixKey, list[int]] = {}
    for position, request in enumerate(requests):
        key = (request.tokens.token_ids.tobytes(), tuple(media.key for media in request.media))
        positions.setdefault(key, []).append(position)
    return [Job(requests[places[0]], tuple(places)) for places in positions.values()]


def plan_prefixes(jobs: Sequence[Job], *, known: Container[PrefixKey]) -> list[Job]:
    """Returns the jobs with the beginnings that are worth computing apart: known, lasting, or shared by several."""
    keys = [_name_prefix(job.request) for job in jobs]
    counts = Counter(key for key in keys if key is not None)
    planned: list[Job] = []
    for job, key in zip(jobs, keys, strict=True):
        prefix = job.request.prefix
        is_worth_it = prefix is not None and key is not None and (prefix.is_lasting or counts[key] > 1 or key in known)
        planned.append(replace(job, prefix=key) if is_worth_it else job)
    return planned


def build_row(
    job: Job, features: Mapping[bytes, VisionFeatures], *, prefix: int | None, is_prefix: bool = False
) -> PackedRow:
    """Returns the tokens of a job that pass through the model: those behind its prefix, or the prefix itself.

    Rotary positions are those of the whole prompt: a picture in the prefix moves all that follow.
    """
    request = job.request
    at, media_at = (0, 0)
    if job.prefix is not None and request.prefix is not None:
        at, media_at = request.prefix.length, request.prefix.media_count
    chosen = slice(0, at) if is_prefix else slice(at, None)
    media = request.media[:media_at] if is_prefix else request.media[media_at:]
    return PackedRow(
        token_ids=request.tokens.token_ids[chosen].astype(np.int64),
        positions=compute_positions(request.tokens)[:, chosen].astype(np.int64),
        visual_places=np.flatnonzero(request.tokens.roles[chosen] == Role.VISUAL),
        features=tuple(features[item.key] for item in media),
        prefix=prefix,
    )


def _name_prefix(request: Request) -> PrefixKey | None:
    if request.prefix is None:
        return None
    tokens = request.tokens.token_ids[: request.prefix.length].tobytes()
    return tokens, tuple(media.key for media in request.media[: request.prefix.media_count])
