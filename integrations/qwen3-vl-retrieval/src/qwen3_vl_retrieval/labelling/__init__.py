"""A page on which a person checks and judges questions. It stands on `server`, with its extra, and `evaluation`."""
