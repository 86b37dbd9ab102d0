"""Log messages of libraries that say nothing to whoever gave a file: left out, one by one, and nothing else."""

from __future__ import annotations

import logging
from functools import cache

__all__ = ["leave_out"]


@cache
def leave_out(logger: str, beginning: str) -> None:
    """Leaves messages that begin with `beginning` out of `logger`, whose level and handlers stay the caller's."""
    logging.getLogger(logger).addFilter(lambda record: not record.getMessage().startswith(beginning))
