"""A page on which a person checks and judges questions. It stands on `server`, whose extra it needs, and `evaluation`."""
