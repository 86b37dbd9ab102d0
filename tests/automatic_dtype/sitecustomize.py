"""What `dtype="auto"` answers on a CPU, chosen by `pytest --automatic-dtype`; nothing outside the tests imports this.

Python imports a module of this name at its start. `tests/conftest.py` puts this folder in front of `PYTHONPATH`, so
that commands and notebook kernels that tests start choose as the tests' own process does.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys

__all__ = ["VARIABLE", "install"]

VARIABLE = "AUTOMATIC_DTYPE_OF_TESTS"

_MODULE = "qwen3_vl_retrieval.loading.hardware"
_EXTENSIONS = {"bfloat16": "bfloat16 instructions, says a test", "float32": None}


class _Chooser(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the module that chooses as all others would, and replaces what it finds out about the CPU."""

    def __init__(self, extension):
        self._extension = extension
        self._is_asked = False
        self._loader = None

    def find_spec(self, name, path, target=None):
        if name != _MODULE or self._is_asked:
            return None
        self._is_asked = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_asked = False
        self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        module._find_bfloat16_extension = lambda: self._extension


def install(dtype):
    """Lets `dtype="auto"`, and the arithmetic of weights in bfloat16, be what they are on a CPU of that kind."""
    sys.meta_path.insert(0, _Chooser(_EXTENSIONS[dtype]))


if VARIABLE in os.environ:
    install(os.environ[VARIABLE])
