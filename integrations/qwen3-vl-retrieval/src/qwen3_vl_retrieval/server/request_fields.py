"""The fields of a request, each of a type, and none that is not known: a misspelt option is never just left out."""

from __future__ import annotations

from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from qwen3_vl_retrieval.errors import quote
from qwen3_vl_retrieval.server.request_errors import RequestError

__all__ = ["RequestFields", "list_values"]


class RequestFields(BaseModel):
    """The base of the fields of each route. Fields that may not change the answer are named, and not used."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def read(cls, body: dict[str, Any]) -> Self:
        """Returns the fields of a body.

        Raises:
            RequestError: A field is unknown, missing or of another type (400).
        """
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(map(str, first["loc"]))
            match first["type"]:
                case "extra_forbidden":
                    known = ", ".join(sorted(cls.model_fields))
                    message = f"the field {quote(name)} is unknown here; allowed are {known}"
                case "missing":
                    message = f"the field {quote(name)} is missing; send it"
                case _:
                    message = f"the field {quote(name)} is {quote(first['input'], with_type=True)}; {first['msg']}"
            raise RequestError(400, message, parameter=name) from None


def list_values(value: object) -> list[Any]:
    """Returns a list as it is, and anything else as the only member of one: many fields take one or several."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]
