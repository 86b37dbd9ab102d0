"""What importing the media package costs."""

import subprocess
import sys
from typing import get_args

import pytest

from qwen3_vl_retrieval import media


def test_importing_the_package_loads_neither_torch_nor_a_codec():
    program = (
        "import sys; from qwen3_vl_retrieval.media import MediaPolicy, read_image, resize_image; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'av', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # noqa: S603 - fixed


def test_every_public_name_is_there_and_no_other():
    assert get_args(media.ImageReading) == ("viewer", "reference")
    for name in set(media.__all__) - {"ImageReading"}:
        assert getattr(media, name).__name__ == name
    assert dir(media) == sorted(media.__all__)
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = media.nothing_here
