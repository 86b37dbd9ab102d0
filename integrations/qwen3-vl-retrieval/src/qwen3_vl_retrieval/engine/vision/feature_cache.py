"""Visual features of images that have been seen, kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict

import torch

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
        self._near = _Tier(max_device_bytes)
        self._far = _Tier(max_host_bytes if device.type != "cpu" else 0)

    @property
    def byte_count(self) -> int:
        """Memory that the features take, that of the device and of the host together."""
        return self._near.byte_count + self._far.byte_count

    def __contains__(self, key: bytes) -> bool:
        return key in self._near.entries or key in self._far.entries

    def find(self, key: bytes) -> VisionFeatures | None:
        """Returns the features of a content key on the device, or `None`."""
        with self._lock:
            found = self._near.entries.get(key)
            if found is not None:
                self._near.entries.move_to_end(key)
                return found
            far = self._far.take(key)
            if far is None:
                return None
            near = far.copy_to(self._device)
            self._place(key, near)
            return near

    def keep(self, key: bytes, features: VisionFeatures) -> None:
        """Keeps a copy of features, and lets the longest unused go for it; those larger than the bound are not kept."""
        if features.byte_count > self._near.max_bytes:
            return
        with self._lock:
            if key not in self._near.entries:
                self._place(key, features.copy_to(self._device))

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._near.clear()
            self._far.clear()

    def _place(self, key: bytes, features: VisionFeatures) -> None:
        for old_key, old in self._near.add(key, features):
            if old.byte_count <= self._far.max_bytes:
                self._far.add(old_key, old.copy_to(torch.device("cpu")))


class _Tier:
    """A least-recently-used store bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.byte_count = 0
        self.entries: OrderedDict[bytes, VisionFeatures] = OrderedDict()

    def add(self, key: bytes, features: VisionFeatures) -> list[tuple[bytes, VisionFeatures]]:
        """Adds features and returns what had to go for them."""
        self.entries[key] = features
        self.byte_count += features.byte_count
        gone: list[tuple[bytes, VisionFeatures]] = []
        while self.byte_count > self.max_bytes:
            old = self.entries.popitem(last=False)
            self.byte_count -= old[1].byte_count
            gone.append(old)
        return gone

    def take(self, key: bytes) -> VisionFeatures | None:
        found = self.entries.pop(key, None)
        if found is not None:
            self.byte_count -= found.byte_count
        return found

    def clear(self) -> None:
        self.entries.clear()
        self.byte_count = 0
