"""Words of scans and images, read by RapidOCR: small ONNX models that come with its wheel and run on any CPU."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from qwen3_vl_retrieval.errors import StoreError
from qwen3_vl_retrieval.forks import ForkSafeLock

__all__ = ["read_with_rapidocr"]

_LOCK = ForkSafeLock()
"""The engine keeps what it works on between its steps."""


def read_with_rapidocr(image: Image.Image) -> str:
    """Returns the words of an image, line by line; `""` if there are none. Give this function to `ocr=`.

    The models that come with RapidOCR read Latin letters and Chinese. For others, or for another engine, write a
    function from an image to its words.

    Raises:
        StoreError: RapidOCR is not installed.
    """
    with _LOCK:
        found = _load_engine()(np.asarray(image.convert("RGB")))
    return "\n".join(found.txts) if found.txts else ""


@cache
def _load_engine() -> Any:
    try:
        from rapidocr import RapidOCR  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise StoreError(
            "reading words needs RapidOCR, which is not installed: pip install 'qwen3-vl-retrieval[ocr]'"
        ) from error
    engine = RapidOCR(params={"Global.log_level": "error"})
    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    return engine
