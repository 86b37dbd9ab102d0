"""Golden figures: what a model must answer to a few fixed questions, so that a server can be asked whether it does.

`qwen3vl golden MODEL --to FILE` computes them where the weights are. Those of the reference checkpoints and of the
pocket models are in this package; a file `golden_figures.json` in the folder of a checkpoint is found there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from qwen3_vl_retrieval.errors import ModelError, explain, quote
from qwen3_vl_retrieval.items import Item
from qwen3_vl_retrieval.options import ModelKind
from qwen3_vl_retrieval.prompting.prompts import (
    DEFAULT_INSTRUCTION,
    DEFAULT_RERANKING_INSTRUCTION,
    PROMPT_VERSION,
)
from qwen3_vl_retrieval.protocols import Embedder, Reranker
from qwen3_vl_retrieval.remote.checkpoint import RemoteCheckpoint

__all__ = [
    "FILE_NAME",
    "PROBES",
    "PROBE_QUERY",
    "GoldenFigures",
    "compute_golden_figures",
    "draw_probe_image",
    "find_golden_figures",
    "read_golden_figures",
]

FILE_NAME = "golden_figures.json"

_FORMAT = 1

_SIDE_PIXELS = 64
"""The smallest image that the models see as it is: servers with the processor's own limits enlarge it."""


def draw_probe_image(width: int, height: int) -> Image.Image:
    """Returns an image of ramps and stripes, the same on every machine, in which no two places look alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = np.stack([columns * 255 // width, rows * 255 // height, (rows // 8 + columns // 8) % 2 * 255], axis=-1)
    return Image.fromarray(ramps.astype(np.uint8))


PROBE_QUERY: Final = "Which image shows stripes?"

PROBES: Final[Mapping[str, Item]] = {
    "text": "A contract between two companies, signed in Lyon on 3 May. 合同。",
    "image": {"image": draw_probe_image(_SIDE_PIXELS, _SIDE_PIXELS), "text": "Stripes and ramps."},
}
"""What is embedded, and judged for `PROBE_QUERY`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenFigures:
    """What a model answers to the probes, in float32.

    Attributes:
        kind: Whether it embeds or judges.
        model: Its name.
        revision: Commit, or hash of the weights.
        prompt_version: Wording and layout of the prompts.
        answers: By probe, the state of the embedder, or the single log-odds of the reranker.
    """

    kind: ModelKind
    model: str
    revision: str
    prompt_version: str
    answers: Mapping[str, npt.NDArray[np.float32]]

    def write(self, path: Path) -> None:
        """Writes the figures as JSON."""
        document = {
            "format": _FORMAT,
            "kind": self.kind,
            "model": self.model,
            "revision": self.revision,
            "prompt_version": self.prompt_version,
            "answers": {
                name: base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
                for name, values in self.answers.items()
            },
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def compute_golden_figures(model: Embedder | Reranker, *, revision: str, model_id: str) -> GoldenFigures:
    """Returns the figures of a model in process; load it in float32, with its own sizes and instructions.

    Args:
        model: The model.
        revision: Its commit, or the hash of its weights.
        model_id: Its name.
    """
    items = list(PROBES.values())
    if isinstance(model, Embedder):
        rows = model.embed(items, instruction=DEFAULT_INSTRUCTION, normalize=False)
    else:
        margins = model.score(PROBE_QUERY, items, instruction=DEFAULT_RERANKING_INSTRUCTION, output="margin")
        rows = margins[:, None]
    return GoldenFigures(
        kind="embedding" if isinstance(model, Embedder) else "reranker",
        model=model_id,
        revision=revision,
        prompt_version=PROMPT_VERSION,
        answers=dict(zip(PROBES, np.asarray(rows, dtype=np.float32), strict=True)),
    )


def read_golden_figures(path: Path) -> GoldenFigures:
    """Returns the figures that `GoldenFigures.write` wrote.

    Raises:
        ModelError: The file cannot be read, or holds something else.
    """
    try:
        return _parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"the golden figures in {str(path)!r} cannot be read ({explain(error)}); compute them with `qwen3vl "
            "golden` of this version"
        ) from error


def find_golden_figures(checkpoint: RemoteCheckpoint, kind: ModelKind, given: Path | None) -> GoldenFigures | None:
    """Returns the figures of a model: those given, of its folder, or of this package; `None` if nobody has any.

    Raises:
        ModelError: The file that is given cannot be read, or belongs to another model.
    """
    if given is not None:
        figures = read_golden_figures(given)
        if figures.kind != kind or (checkpoint.revision and figures.revision != checkpoint.revision):
            raise ModelError(
                f"the golden figures in {str(given)!r} are those of {figures.model!r} ({figures.kind}, revision "
                f"{figures.revision}), and {checkpoint.model_id!r} is another ({kind}, revision {checkpoint.revision})"
            )
        return figures
    if checkpoint.folder is not None and (checkpoint.folder / FILE_NAME).is_file():
        figures = read_golden_figures(checkpoint.folder / FILE_NAME)
        return figures if figures.kind == kind else None
    shipped = resources.files("qwen3_vl_retrieval.remote") / "figures"
    for file in shipped.iterdir():
        figures = _parse(json.loads(file.read_text(encoding="utf-8")))
        if (figures.kind, figures.revision) == (kind, checkpoint.revision):
            return figures
    return None


def _parse(document: Any) -> GoldenFigures:
    if document["format"] != _FORMAT:
        raise ValueError(f"format {quote(document['format'])}, and this version reads {_FORMAT}")
    answers = {
        str(name): np.frombuffer(base64.b64decode(values), dtype="<f4") for name, values in document["answers"].items()
    }
    if set(answers) != set(PROBES) or document["prompt_version"] != PROMPT_VERSION:
        raise ValueError("they answer other questions than this version asks")
    return GoldenFigures(
        kind=document["kind"],
        model=str(document["model"]),
        revision=str(document["revision"]),
        prompt_version=str(document["prompt_version"]),
        answers=answers,
    )
