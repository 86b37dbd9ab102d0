"""A page on which a person checks and judges questions; it stands on `server` and `evaluation`, and needs both extras."""
