"""What there is to embed: the files of a folder, of a bucket, or of a list of addresses, each with its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from qwen3_vl_retrieval.documents.files import FileKind, compile_patterns, find_kind, is_folder
from qwen3_vl_retrieval.documents.identity import hash_text, is_unchanged, read_signature
from qwen3_vl_retrieval.documents.media_store import hash_file
from qwen3_vl_retrieval.errors import InputError, StoreError, quote
from qwen3_vl_retrieval.index.ingest.source_reader import is_passing, list_sources
from qwen3_vl_retrieval.jobs.entries import ListedFile
from qwen3_vl_retrieval.jobs.failures import NamedFailure, name_error
from qwen3_vl_retrieval.jobs.filesystems import (
    explain_storage_errors,
    find_local_path,
    is_download,
    open_filesystem,
)
from qwen3_vl_retrieval.media.policy import MediaPolicy, read_bytes
from qwen3_vl_retrieval.paths import encode_path

__all__ = ["SourceListing", "SourceOptions", "list_source"]

T = TypeVar("T")


_THREADS = 16
"""Files that are hashed or asked for at a time: most of it is waiting for disks and networks."""

_HASHED_AT_ONCE = 1024
"""Files that wait for a thread at most."""

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is listed and opened.

    Attributes:
        policy: What may be opened and downloaded.
        exclude: Patterns of files to leave out, as in a `.gitignore` file in the folder.
        is_list: Whether the source is a file that names others, an address a line; one that is downloaded is.
        storage_options: Options of the file system of its URL.
    """

    policy: MediaPolicy
    exclude: Sequence[str] = ()
    is_list: bool = False
    storage_options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True, kw_only=True)
class SourceListing:
    """What a source holds.

    Attributes:
        files: The files that are read.
        skipped: Files that take no part, and why, by their source.
        hidden: Number of files whose names begin with a dot, or lie in such folders.
        failures: What could not be listed.
    """

    files: list[ListedFile] = field(default_factory=list[ListedFile])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    hidden: int = 0
    failures: list[NamedFailure] = field(default_factory=list[NamedFailure])


def list_source(source: str, options: SourceOptions, known: Mapping[str, ListedFile]) -> SourceListing:
    """Returns what a source holds.

    Args:
        source: A folder or file; the URL of a folder or file in an object store; or a list of addresses.
        options: How it is listed.
        known: Files of an earlier listing by source: a local file that nobody wrote to since is not hashed again.

    Raises:
        InputError: There is no such source, or a pattern is malformed.
        StoreError: The object store cannot be reached.
    """
    if options.is_list or is_download(source):
        return _list_addresses(source, options, known)
    local = find_local_path(source)
    return _list_local(local, options, known) if local is not None else _list_stored(source, options)


def _list_local(path: Path, options: SourceOptions, known: Mapping[str, ListedFile]) -> SourceListing:
    if not path.exists():
        raise InputError(f"there is no {quote(str(path))}; give an existing folder or file")
    found = list_sources(path, exclude=options.exclude)
    listing = SourceListing(
        skipped={encode_path(skipped.path): skipped.reason for skipped in found.skipped},
        hidden=found.hidden,
        failures=[
            name_error(encode_path(failure.path), failure.error, may_pass=is_passing(failure.error, failure.path))
            for failure in found.failures
        ],
    )
    paths = [path for path in found.sources if isinstance(path, Path)]
    _add_files(listing, partial(_look_at_file, policy=options.policy, known=known), paths)
    return listing


def _look_at_file(path: Path, *, policy: MediaPolicy, known: Mapping[str, ListedFile]) -> ListedFile | str:
    """The file, or why it takes no part."""
    kind = find_kind(path)
    source = encode_path(path)
    if kind is None:
        return "unknown suffix"
    try:
        signature = read_signature(path)
        before = known.get(source)
        if before is not None and before.signature is not None and is_unchanged(before.signature, signature):
            return ListedFile(
                source=source,
                identity=before.identity,
                size_bytes=before.size_bytes,
                kind=kind,
                signature=before.signature,
            )
        identity = f"sha256:{hash_file(path, policy)}"
    except InputError as error:
        # Reading it will say the same, and that is where it is named. Another error makes another shard.
        return ListedFile(source=source, identity=f"unread:{hash_text(error.reason)}", size_bytes=0, kind=kind)
    return ListedFile(source=source, identity=identity, size_bytes=signature.size_bytes, kind=kind, signature=signature)


def _list_stored(url: str, options: SourceOptions) -> SourceListing:
    filesystem, root = open_filesystem(url, options.storage_options)
    excluded = compile_patterns(options.exclude)
    with explain_storage_errors(f"{quote(url)} cannot be listed"):
        filesystem.invalidate_cache()
        found = cast("dict[str, dict[str, Any]]", filesystem.find(root, detail=True))
    if not found:
        raise InputError(f"there is nothing below {quote(url)}; give the URL of a folder or file that exists")
    listing = SourceListing()
    kept: list[dict[str, Any]] = []
    for name, info in found.items():
        relative = PurePosixPath(name).relative_to(root) if name != root else PurePosixPath(PurePosixPath(name).name)
        if any(part.startswith(".") for part in relative.parts):
            listing.hidden += 1
        elif excluded.match_file(relative.as_posix()):
            listing.skipped[_name_stored(filesystem, name)] = "excluded"
        else:
            kept.append(info)
    _add_files(listing, partial(_look_at_object, filesystem=filesystem), kept)
    return listing


def _look_at_object(info: Mapping[str, Any], *, filesystem: Any) -> ListedFile | str:
    name = str(info["name"])
    kind = find_kind(Path(name))
    size_bytes = int(info.get("size") or 0)
    if kind is None:
        return "unknown suffix"
    if kind == "text" and size_bytes == 0:
        return "empty text"
    # As S3 and Google name what changes with the content; others are read.
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    identity = f"sha256:{_hash_object(filesystem, name)}" if tag is None else f"etag:{str(tag).strip(chr(34))}"
    if tag is not None:
        identity += f":{size_bytes}"
    return ListedFile(source=_name_stored(filesystem, name), identity=identity, size_bytes=size_bytes, kind=kind)


def _hash_object(filesystem: Any, name: str) -> str:
    digest = hashlib.sha256()
    with explain_storage_errors(f"{quote(name)} cannot be read"), filesystem.open(name, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _name_stored(filesystem: Any, name: str) -> str:
    return str(filesystem.unstrip_protocol(name))


def _list_addresses(source: str, options: SourceOptions, known: Mapping[str, ListedFile]) -> SourceListing:
    folder = find_local_path(source)
    content = _read_list(source, options)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"the list {quote(source)} is not UTF-8 ({error}); write one address a line") from error
    lines = dict.fromkeys(line.strip() for line in text.splitlines())
    addresses = [line for line in lines if line and not line.startswith("#")]
    if is_download(source) and (others := [address for address in addresses if not is_download(address)]):
        # Whoever wrote the list would choose what is read of this machine and its buckets.
        raise InputError(
            f"the list {quote(source)} names {quote(others[0])}; a list that is downloaded may name http:// and "
            "https:// addresses only: download it, look at it, and give it with --list"
        )
    listing = SourceListing()
    look = partial(_look_at_address, options=options, known=known, folder=None if folder is None else folder.parent)
    _add_files(listing, look, addresses)
    return listing


def _read_list(source: str, options: SourceOptions) -> bytes:
    local = find_local_path(source)
    if local is not None or is_download(source):
        return read_bytes(source if local is None else local, options.policy)
    filesystem, name = open_filesystem(source, options.storage_options)
    with explain_storage_errors(f"the list {quote(source)} cannot be read"):
        return cast("bytes", filesystem.cat_file(name))


def _look_at_address(
    address: str, *, options: SourceOptions, known: Mapping[str, ListedFile], folder: Path | None
) -> ListedFile | str:
    if is_download(address):
        return _look_at_url(address, options.policy)
    local = find_local_path(address)
    if local is not None:
        # Relative to the list, wherever the command runs.
        path = local if folder is None or Path(address).is_absolute() else folder / address
        if is_folder(path):
            raise InputError(f"the list names the folder {quote(str(path))}; name the files in it")
        return _look_at_file(path, policy=options.policy, known=known)
    filesystem, name = open_filesystem(address, options.storage_options)
    try:
        info = cast("dict[str, Any]", filesystem.info(name))
    except OSError as error:
        raise InputError(f"{quote(address)} cannot be found: {error}") from error
    return _look_at_object(info, filesystem=filesystem)


def _look_at_url(url: str, policy: MediaPolicy) -> ListedFile | str:
    from qwen3_vl_retrieval.media.download import look_at_url

    kind: FileKind | None = find_kind(Path(urlsplit(url).path))
    if kind is None:
        return "unknown suffix"
    seen = look_at_url(url, policy)
    # A server that tells no version of its own is believed to keep what is at an address.
    named = f"{url}\0{seen.version}"
    return ListedFile(source=url, identity=f"url:{hash_text(named)}", size_bytes=seen.size_bytes, kind=kind)


def _add_files(listing: SourceListing, look: Callable[[T], ListedFile | str], found: Sequence[T]) -> None:
    """Looks at everything that was found, several at a time."""
    for one, looked in zip(found, _map_threads(look, found), strict=True):
        match looked:
            case ListedFile():
                listing.files.append(looked)
            case str():
                listing.skipped[_name_found(one)] = looked
            case InputError() | StoreError():
                error = looked if isinstance(looked, InputError) else InputError(str(looked))
                listing.failures.append(name_error(_name_found(one), error, may_pass=True))


def _map_threads(
    look: Callable[[T], ListedFile | str], found: Sequence[T]
) -> Iterator[ListedFile | str | InputError | StoreError]:
    def look_safely(one: T) -> ListedFile | str | InputError | StoreError:
        try:
            return look(one)
        except (InputError, StoreError) as error:
            return error

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="list-source") as threads:
        for first in range(0, len(found), _HASHED_AT_ONCE):
            yield from threads.map(look_safely, found[first : first + _HASHED_AT_ONCE])


def _name_found(one: object) -> str:
    match one:
        case Path():
            return encode_path(one)
        case Mapping():
            return str(cast("Mapping[str, Any]", one)["name"])
        case _:
            return str(one)
