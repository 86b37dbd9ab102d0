"""Writes down each PDF that a process opens, into the file that an environment variable names.

Python imports a module of this name at its start: with this folder on `PYTHONPATH`, readers that a test starts count.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "OPENED_PDFS_OF_TESTS"

if VARIABLE in os.environ:
    import pypdfium2

    _open = pypdfium2.PdfDocument.__init__

    def _open_counted(self, source, *args, **options):
        with Path(os.environ[VARIABLE]).open("a") as log:
            log.write(f"{os.getpid()}\n")
        _open(self, source, *args, **options)

    pypdfium2.PdfDocument.__init__ = _open_counted
