"""Where each character of the text layer of a page stands, as it is seen when the page is rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TextLayer"]


@dataclass(frozen=True, slots=True, eq=False)
class TextLayer:
    """The characters of a page in the order of the file, spaces and line ends included.

    Attributes:
        text: The characters; one that is no character by itself is U+FFFD.
        boxes: `(characters, 4)`: left, top, right and bottom in shares of width and height of the rendered page. What
            has no ink has no area.
    """

    text: str
    boxes: npt.NDArray[np.float32]
