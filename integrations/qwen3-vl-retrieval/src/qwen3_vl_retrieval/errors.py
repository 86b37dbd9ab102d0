"""Everything this package raises on purpose.

```text
RetrievalError
├── InputError                   an item cannot be embedded or judged as given
│   ├── MediaError               a picture, page, clip or download cannot be read
│   │   └── MediaPolicyError     reading it is not allowed, or exceeds a limit
│   └── InputTooLongError        it does not fit the model's length and may not be shortened
├── ModelError                   a model cannot be found, loaded or trusted
└── StoreError                   a store on disk is in use, torn, or not ours
    └── FingerprintMismatchError     it holds vectors of another space
```

A message says what was given, what is allowed and what to do. Errors about one item of a list carry its
position in `index`, and the message starts with it.
"""

from __future__ import annotations

__all__ = [
    "FingerprintMismatchError",
    "InputError",
    "InputTooLongError",
    "MediaError",
    "MediaPolicyError",
    "ModelError",
    "RetrievalError",
    "StoreError",
]


class RetrievalError(Exception):
    """The base of every error that this package raises on purpose."""


class InputError(RetrievalError):
    """An item cannot be embedded or judged as given.

    Attributes:
        reason: What was wrong, without the position.
        index: Position of the item in the caller's list; `None` for a single item or outside a list.
        role: What the position counts: `"item"`, `"document"` or `"query"`.
    """

    def __init__(self, reason: str, *, index: int | None = None, role: str = "item") -> None:
        self.reason = reason
        self.index = index
        self.role = role
        super().__init__(reason)

    def __str__(self) -> str:
        if self.index is not None:
            return f"{self.role} {self.index}: {self.reason}"
        return f"{self.role}: {self.reason}" if self.role != "item" else self.reason

    def __reduce__(self) -> tuple[type[InputError], tuple[str], dict[str, object]]:
        return type(self), (self.reason,), {"index": self.index, "role": self.role}

    def at(self, index: int | None, *, role: str = "item") -> InputError:
        """Returns the same error placed at `index` of the caller's list; the original is unchanged."""
        placed = type(self)(self.reason, index=index, role=role)
        placed.__cause__ = self.__cause__
        placed.__context__ = self.__context__
        return placed


class MediaError(InputError):
    """A picture, page, clip or download cannot be read: missing, truncated, or not what it claims to be."""


class MediaPolicyError(MediaError):
    """Reading the media is not allowed by the `MediaPolicy`, or exceeds one of its limits."""


class InputTooLongError(InputError):
    """An item does not fit the model's length and may not be shortened, or cannot be shortened enough."""


class ModelError(RetrievalError):
    """A model cannot be found or loaded, or its weights do not fit its configuration."""


class StoreError(RetrievalError):
    """A store on disk cannot be opened or written: it is in use, torn, of another version, or not ours."""


class FingerprintMismatchError(StoreError):
    """Stored vectors come from another vector space than the embedder at hand."""
