"""Looks into built wheels: every module, `py.typed` and data file inside, nothing else beside them."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "qwen3_vl_retrieval": ROOT / "integrations/qwen3-vl-retrieval/src",
    "qwen3_vl_pocket": ROOT / "integrations/qwen3-vl-pocket/src",
    "langchain_qwen3_vl": ROOT / "integrations/langchain-qwen3-vl/src",
    "llama_index_qwen3_vl": ROOT / "integrations/llama-index-qwen3-vl/src",
}
_NAMESPACES = {
    "llama_index",
    "embeddings",
    "postprocessor",
    "schema",
    "retrievers",
    "indices",
    "node_parser",
    "query_engine",
    "evaluation",
    "tools",
}
MOST_MODEL_BYTES = 12_000_000


def _is_in_namespace(name: str) -> bool:
    path = Path(name)
    return path.suffix == ".py" and path.parts[0] == "llama_index" and path.parent.name in _NAMESPACES


def check_wheel(wheel: Path) -> None:
    package = wheel.name.split("-")[0]
    source = EXPECTED[package]
    data = [path for path in (source / package / "data").rglob("*") if path.is_file()]
    templates = [path for suffix in ("html", "css") for path in source.rglob(f"templates/*.{suffix}")]
    page = [path for path in source.rglob("page/*") if path.is_file()]
    remote = [*source.rglob("remote/figures/*.json"), *source.rglob("remote/templates/*.jinja")]
    # A package that shares the namespace of others has no folder of its own name, and a marker in each of its parts.
    markers = {str(path.relative_to(source)) for path in source.rglob("py.typed")}
    for folder in {path.parent for path in data}:
        if sum(path.stat().st_size for path in folder.iterdir()) > MOST_MODEL_BYTES:
            raise SystemExit(f"{folder.name} has more than {MOST_MODEL_BYTES:,} bytes")
    expected = {
        str(path.relative_to(source)) for path in [*source.rglob("*.py"), *data, *templates, *page, *remote]
    } | markers
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    if not markers or any(map(_is_in_namespace, found)):
        raise SystemExit(f"{wheel.name}: no py.typed, or a module in a namespace that others share")
    if found != expected:
        raise SystemExit(f"{wheel.name}: missing {sorted(expected - found)}, superfluous {sorted(found - expected)}")
    sys.stdout.write(f"{wheel.name}: {len(found)} files\n")


if __name__ == "__main__":
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    if {wheel.name.split("-")[0] for wheel in wheels} != set(EXPECTED):
        raise SystemExit(f"expected a wheel of each of {sorted(EXPECTED)}, found {[wheel.name for wheel in wheels]}")
    for wheel in wheels:
        check_wheel(wheel)
