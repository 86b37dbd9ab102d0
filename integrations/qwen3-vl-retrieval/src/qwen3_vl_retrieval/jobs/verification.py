"""Whether everything is there: each file of a source has its units in a part, or is named as a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.jobs.failures import NamedFailure, decode_failures
from qwen3_vl_retrieval.jobs.parts import PartAccount, name_part
from qwen3_vl_retrieval.jobs.run_folder import RunFolder
from qwen3_vl_retrieval.jobs.settling import PartSurvey, survey_parts
from qwen3_vl_retrieval.jobs.shards import Shard

__all__ = ["Verification", "read_failures", "verify_parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found in the parts of a run.

    Attributes:
        surveys: Which units the shards hold, in the order of the plan; without their sources.
        failures: What could not be read or embedded.
        missing: Files whose units are neither there nor named, and why.
    """

    surveys: Sequence[PartSurvey]
    failures: Sequence[NamedFailure]
    missing: Mapping[str, str]


def verify_parts(
    run: RunFolder,
    shards: Sequence[Shard],
    accounts: Mapping[str, PartAccount],
    duplicates: set[str],
    reasons: Mapping[str, str],
) -> Verification:
    """Returns what the parts hold and what is missing, from the files alone.

    Args:
        run: The run.
        shards: All shards of the plan.
        accounts: What the parts say of themselves; shards without one are not finished.
        duplicates: Shards that have a file of duplicates.
        reasons: Why shards are not finished, where that is known.
    """
    missing: dict[str, str] = {}
    for shard in shards:
        if shard.hash not in accounts:
            missing |= _miss(shard, reasons.get(shard.hash, "its shard is not finished"))
    finished = [shard for shard in shards if shard.hash in accounts]
    held_units = survey_parts(run, [shard.hash for shard in finished], duplicates)
    surveys: list[PartSurvey] = []
    failures: list[NamedFailure] = []
    for shard, survey in zip(finished, held_units, strict=True):
        if isinstance(survey, StoreError):
            missing |= _miss(shard, str(survey))
            continue
        account = accounts[shard.hash]
        try:
            named = read_failures(run, account)
        except StoreError as error:
            missing |= _miss(shard, str(error))
            continue
        failures += named
        held = len(np.unique(np.concatenate([survey.counted, survey.moved])))
        if held != account.units:
            missing |= _miss(shard, f"its part holds {held:,} units, and {account.units:,} were written")
        accounted = survey.sources | {failure.source for failure in named}
        missing |= {
            source: "its part has neither units nor failures of it"
            for entry in shard.entries
            for source in entry.sources
            if source not in accounted
        }
        surveys.append(replace(survey, sources=frozenset()))
    return Verification(surveys=surveys, failures=failures, missing=missing)


def read_failures(run: RunFolder, account: PartAccount) -> list[NamedFailure]:
    """Returns the failures of a shard.

    Raises:
        StoreError: They cannot be read.
    """
    if not account.failures:
        return []
    name = name_part("failures", account.shard)
    try:
        return decode_failures(run.read(name))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{name!r} is damaged ({error}); remove it, and the shard is made again") from error


def _miss(shard: Shard, reason: str) -> dict[str, str]:
    return {source: reason for entry in shard.entries for source in entry.sources}
