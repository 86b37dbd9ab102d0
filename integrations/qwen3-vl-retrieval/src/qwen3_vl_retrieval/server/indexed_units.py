"""A page, image, moment of a video or text of an index, opened by its id."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from qwen3_vl_retrieval.documents.kept_media import decode_item
from qwen3_vl_retrieval.documents.previews import View, draw_miniature, read_frames, read_view, view_item, view_unit
from qwen3_vl_retrieval.documents.units import Unit
from qwen3_vl_retrieval.errors import InputError, quote
from qwen3_vl_retrieval.index.multimodal_index import MultimodalIndex
from qwen3_vl_retrieval.index.results.hits import read_text
from qwen3_vl_retrieval.items import Item, VideoPart
from qwen3_vl_retrieval.media.policy import MediaPolicy

__all__ = ["IndexedUnit", "find_unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedUnit:
    """A unit of an index. It holds no pixels: files are opened when they are asked for.

    Attributes:
        id: Its id.
        unit: The page, window, image or chunk.
        source: A file that holds it, as text (see `qwen3_vl_retrieval.paths`); `None` if it was given in memory.
        stored_item: The item, if it was given in memory.
        policy: What may be opened of it.
    """

    id: str
    unit: Unit
    source: str | None
    stored_item: Item | None = field(repr=False, compare=False)
    policy: MediaPolicy = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The chunk, the text layer of the page, or the text of the item; `""` if there is none."""
        if self.unit.text is not None:
            return self.unit.text
        return "" if self.stored_item is None else read_text(self.stored_item)

    def read_image(self, *, moment: float = 0.5) -> Image.Image:
        """Returns one RGB image: the image, the page, a frame of the video, or a card of text.

        Args:
            moment: Which frame of a video, as a share of its window: 0 is the beginning, 1 the end.

        Raises:
            ValueError: `moment` is not between 0 and 1.
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        if not 0 <= moment <= 1:
            raise ValueError(f"moment={moment} must be between 0 and 1: it is a share of the window")
        view = self._find_view()
        if isinstance(view, VideoPart):
            return read_frames(view, self.policy, shares=(moment,))[0]
        return read_view(view, self.policy)

    def draw_thumbnail(self, *, side_pixels: int) -> Image.Image:
        """Returns a small RGB image, at most `side_pixels` wide and high; of a video, four moments in two rows.

        Raises:
            MediaPolicyError: The policy refuses the file.
            MediaError: The file is gone, damaged, or no longer what it was.
        """
        return draw_miniature(self._find_view(), self.policy, side_pixels=side_pixels)

    def _find_view(self) -> View:
        return view_unit(self.unit) if self.stored_item is None else view_item(self.stored_item)


def find_unit(index: MultimodalIndex, unit_id: str) -> IndexedUnit:
    """Returns the unit with an id. An id is only looked up: one that reads like a path or URL opens nothing.

    Raises:
        InputError: There is none.
    """
    store = index.store
    rows = store.catalog.find_rows([unit_id]) if unit_id.isascii() else {}
    stored = next(iter(store.catalog.load_units(list(rows.values())).values()), None)
    if stored is None:
        raise InputError(
            f"there is no unit with the id {quote(unit_id)} in this index; give an id that a search returned: paths, "
            "names and URLs are not opened"
        )
    unit, _ = stored.find_unit()
    source, _ = stored.find_source()
    content = stored.record.content
    return IndexedUnit(
        id=stored.record.id,
        unit=unit,
        source=source,
        stored_item=None if content is None else decode_item(content, store.layout.media),
        policy=index.media_policy,
    )
