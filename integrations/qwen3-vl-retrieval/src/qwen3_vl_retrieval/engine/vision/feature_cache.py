"""Visual features of images that have been seen, kept within a bound of memory."""

from __future__ import annotations

import torch

from qwen3_vl_retrieval.bounded_cache import BoundedCache
from qwen3_vl_retrieval.engine.states import VisionFeatures
from qwen3_vl_retrieval.forks import ForkSafeLock

__all__ = ["FeatureCache"]


class FeatureCache:
    """Features by content key. The latest used are kept on the device, older ones in the host's memory.

    Safe to use from several threads.

    Args:
        device: Device of the model.
        max_device_bytes: Memory of the device that features may take.
        max_host_bytes: Memory of the host for those that found no room there; without a GPU it is not used.
    """

    def __init__(self, device: torch.device, *, max_device_bytes: int, max_host_bytes: int = 0) -> None:
        self._device = device
        self._lock = ForkSafeLock()
        self._near = BoundedCache[bytes, VisionFeatures](max_device_bytes, measure=_count_bytes)
        self._far = BoundedCache[bytes, VisionFeatures](
            max_host_bytes if device.type != "cpu" else 0, measure=_count_bytes
        )

    @property
    def byte_count(self) -> int:
        """Memory that the features take, that of the device and of the host together."""
        return self._near.size + self._far.size

    def __contains__(self, key: bytes) -> bool:
        return key in self._near or key in self._far

    def find(self, key: bytes) -> VisionFeatures | None:
        """Returns the features of a content key on the device, or `None`."""
        with self._lock:
            near = self._near.find(key)
            if near is not None:
                return near
            far = self._far.take(key)
            if far is None:
                return None
            near = far.copy_to(self._device)
            self._place(key, near)
            return near

    def keep(self, key: bytes, features: VisionFeatures) -> None:
        """Keeps a copy of features, for which the longest unused give way; those beyond the bound are not kept."""
        if not self._near.admits(features):
            return
        with self._lock:
            if key not in self._near:
                self._place(key, features.copy_to(self._device))

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._near.clear()
            self._far.clear()

    def _place(self, key: bytes, features: VisionFeatures) -> None:
        for old_key, old in self._near.keep(key, features):
            if self._far.admits(old):
                self._far.keep(old_key, old.copy_to(torch.device("cpu")))


def _count_bytes(features: VisionFeatures) -> int:
    """Returns the memory that features take."""
    return features.byte_count
