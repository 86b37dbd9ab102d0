"""Options of the commands, each said once: a command takes a dataclass of them, or one of the annotations below."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

import typer

from qwen3_vl_retrieval import media
from qwen3_vl_retrieval.documents.units import MediaType
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.media.policy import MediaPolicy, read_file

__all__ = [
    "DEFAULT_EMBEDDER",
    "DEFAULT_RERANKER",
    "NO_RERANKER",
    "DeviceOption",
    "DtypeOption",
    "ExcludeOption",
    "InstructionOption",
    "JsonOption",
    "LoadingOptions",
    "MaxPixelsOption",
    "SearchRequest",
    "StoreArgument",
    "expand_options",
    "join_query",
    "parse_filter",
    "parse_media_type",
    "parse_threshold",
]

DEFAULT_EMBEDDER = "Qwen/Qwen3-VL-Embedding-2B"
DEFAULT_RERANKER = "Qwen/Qwen3-VL-Reranker-2B"
NO_RERANKER = "none"

_FETCH_K = 50

StoreArgument: TypeAlias = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of the index.")]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="cuda, cuda:1, mps or cpu; by default the first of these that exists.")
]
DtypeOption: TypeAlias = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
MaxPixelsOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        min=4096,
        help="Pixels that the models see of an image, page or frame at most; fewer is faster.",
    ),
]
ExcludeOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="What to leave out, as in a .gitignore file in the folder: '*.bak', drafts/, /2019. Repeat it for more.",
    ),
]
InstructionOption: TypeAlias = Annotated[
    str | None, typer.Option("--instruction", help="What makes a file relevant, in a sentence.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingOptions:
    """How models are loaded, whichever they are.

    Attributes:
        device: Where they run; `None` chooses.
        dtype: In which precision; `"auto"` chooses.
        dimensions: Length of a vector; `None` is the hidden size.
        max_pixels: Pixels of an image, page or frame at most; `None` is the models' own limit.
        image_reading: How images are read; `None` is as the index has it, or as a viewer shows them.
        profile: Whether to show what the models had to compute.
    """

    device: DeviceOption = None
    dtype: DtypeOption = "auto"
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            min=1,
            help="Length of a vector, from 32 to the model's hidden size, which is the default.",
        ),
    ] = None
    max_pixels: MaxPixelsOption = None
    image_reading: Annotated[
        str | None,
        typer.Option(
            "--image-reading",
            help="viewer: images as a viewer shows them; reference: as the official scripts see them.  "
            "[default: viewer, or that of the index that is searched]",
        ),
    ] = None
    profile: Annotated[
        bool, typer.Option("--profile", help="Show what the models had to compute, and how long it took.")
    ] = False


def parse_filter(where: str) -> dict[str, Any]:
    """Returns what `--where` says, a usage error if it is not JSON; the index says whether it is a filter."""
    try:
        return json.loads(where)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"--where is not JSON: {error}") from None


def parse_media_type(text: str) -> str:
    """Returns the name of a kind of units, a usage error if it is none."""
    allowed = get_args(MediaType)
    if text not in allowed:
        raise typer.BadParameter(f"{text!r} is no kind of unit; give one of {', '.join(allowed)}")
    return text


def parse_threshold(text: str) -> float | str:
    """Returns a score, or the name of one that was measured; the index says whether it was."""
    try:
        return float(text)
    except ValueError:
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What `qwen3vl search` looks for, by which models, and how many results are wanted.

    Attributes:
        query: The text; blank if there is only an image.
        query_image: The image that belongs to it.
        model: Name of the embedding model; `None` is the one of the index, or the published one.
        reranker: Name of the reranker; `"none"` leaves the order to the vectors. See `reranker_name`.
        k: Results at most.
        fetch_k: Units that the reranker judges; `None` is the default. See `judged_units`.
        where: A filter that results must meet.
        media_types: Which kinds of units to find; `None` or none is all.
        instruction: What makes a unit relevant; `None` is the models' own.
        threshold: Lowest score of a result, or what it stands for; `None` is none.
    """

    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in any language.")]
    query_image: Annotated[
        Path | None,
        typer.Option(
            "--image", "--query-image", exists=True, dir_okay=False, help="An image that belongs to the query."
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help=f"Embedding model: hub id, folder or pocket.  [default: the one of the index, or {DEFAULT_EMBEDDER}]",
        ),
    ] = None
    reranker: Annotated[str, typer.Option("--reranker", help="Reranker: hub id, folder, pocket, or none.")] = (
        DEFAULT_RERANKER
    )
    k: Annotated[int, typer.Option("--k", min=1, help="Results at most.")] = 10
    fetch_k: Annotated[
        int | None,
        typer.Option(
            "--fetch-k", min=1, help=f"Units that the reranker judges.  [default: {_FETCH_K}, or k if larger]"
        ),
    ] = None
    where: Annotated[
        dict[str, Any] | None,
        typer.Option(
            "--where",
            parser=parse_filter,
            metavar="JSON",
            help='What results must meet: {"page": {"$lte": 3}}, {"source": "/docs/a.pdf"}.',
        ),
    ] = None
    media_types: Annotated[
        list[str] | None,
        typer.Option(
            "--media-type",
            parser=parse_media_type,
            metavar="TYPE",
            help=f"Find only units of this kind: {', '.join(get_args(MediaType))}. Repeat it for more.",
        ),
    ] = None
    instruction: InstructionOption = None
    threshold: Annotated[
        Any,
        typer.Option(
            "--threshold",
            parser=parse_threshold,
            metavar="SCORE",
            help="Lowest score of a result: a probability (a cosine without a reranker), or fpr=0.01 or "
            "probability=0.9 as qwen3vl eval has measured them on the index.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises a usage error for what cannot be searched for."""
        if not self.query.strip() and self.query_image is None:
            raise typer.BadParameter("the query is empty; give a text, or an image with --query-image")
        if self.judged_units < self.k:
            raise typer.BadParameter(
                f"--fetch-k {self.fetch_k} is below --k {self.k}; judge at least as many as are shown"
            )

    @property
    def reranker_name(self) -> str | None:
        """The reranker; `None` if the vectors decide."""
        return None if self.reranker == NO_RERANKER else self.reranker

    @property
    def judged_units(self) -> int:
        """Units that the reranker judges."""
        return max(self.k, _FETCH_K) if self.fetch_k is None else self.fetch_k


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Returns the command with one option for each field of its parameters that are dataclasses.

    typer makes an option of each parameter of a function. So options that several commands share are the annotated
    fields of a dataclass, which the command is called with.

    Args:
        command: The function, whose parameters are annotated with types, `Annotated`, or dataclasses of options.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _list_parameters(name, groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            values = {option.name: given.pop(f"{name}_{option.name}") for option in fields(group)}
            given[name] = group(**values)
        command(**given)

    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def join_query(query: str, query_image: Path | None, policy: MediaPolicy) -> Item:
    """Returns the text, the image, or both; the image may be anywhere, and is otherwise read under `policy`.

    It is handed on as it is in its file: how it is read, the model decides.

    Raises:
        InputError: The image cannot be read.
    """
    if query_image is None:
        return query
    policy = replace(policy, allow_dirs=None)
    # What is wrong with it is said with its name.
    media.read_image(query_image, policy)
    content = read_file(query_image, policy)
    return {"image": content, "text": query} if query.strip() else {"image": content}


def _list_parameters(name: str, group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            # Two groups may have fields of the same name; what the option is called, its annotation says.
            f"{name}_{option.name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if option.default is MISSING else option.default,
            annotation=hints[option.name],
        )
        for option in fields(group)
    ]
