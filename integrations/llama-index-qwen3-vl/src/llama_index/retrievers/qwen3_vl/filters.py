"""Filters of LlamaIndex: joined with the kinds of media that are wanted, and told to an index of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from qwen3_vl_retrieval import InputError
from qwen3_vl_retrieval.errors import quote

__all__ = ["build_where", "join_media_types"]

_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
}
_CONDITIONS = {FilterCondition.AND: "$and", FilterCondition.OR: "$or"}


def build_where(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Returns filters in the language of `MultimodalIndex.search`; `None` if there are none.

    Raises:
        InputError: They use an operator or a condition that it does not have.
    """
    if filters is None or not filters.filters:
        return None
    members = [_translate(member) for member in filters.filters]
    members = [member for member in members if member is not None]
    condition = FilterCondition.AND if filters.condition is None else filters.condition
    if condition not in _CONDITIONS:
        raise InputError(
            f"the condition {quote(condition.value)} is not one of a MultimodalIndex; allowed are and, or: "
            "turn '==' into '!=' and 'in' into 'nin' instead"
        )
    return {_CONDITIONS[condition]: members} if members else None


def join_media_types(
    filters: MetadataFilters | None, media_types: Sequence[str] | None
) -> tuple[MetadataFilters | None, bool]:
    """Returns filters that also ask for `media_type`, and whether they do.

    They cannot where the filters are not joined by "and": stores differ in whether filters nest.
    """
    if media_types is None:
        return filters, True
    own = [] if filters is None else list(filters.filters)
    condition = None if filters is None else filters.condition
    if (condition not in (None, FilterCondition.AND) and len(own) > 1) or condition == FilterCondition.NOT:
        return filters, False
    kinds = list(media_types)
    wanted = (
        MetadataFilter(key="media_type", value=kinds[0])
        if len(kinds) == 1
        else MetadataFilter(key="media_type", value=kinds, operator=FilterOperator.IN)
    )
    return MetadataFilters(filters=[*own, wanted], condition=FilterCondition.AND), True


def _translate(member: MetadataFilter | MetadataFilters) -> dict[str, Any] | None:
    if isinstance(member, MetadataFilters):
        return build_where(member)
    operator = _OPERATORS.get(member.operator)
    if operator is None:
        raise InputError(
            f"the operator {quote(member.operator.value)} of {quote(member.key)} is not one of a "
            "MultimodalIndex; allowed are " + ", ".join(known.value for known in _OPERATORS)
        )
    if member.value is None:
        raise InputError(f"{quote(member.key)} is compared with None; give a text, a number or a list of them")
    return {member.key: {operator: member.value}}
