"""Names, folders and hubs; the hubs' clients are replaced, nothing is downloaded."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from qwen3_vl_retrieval import ModelError
from qwen3_vl_retrieval.loading import checkpoints, locate_checkpoint

REFERENCE = Path(__file__).parent / "reference/checkpoints"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path):
    """A checkpoint where the Hugging Face client keeps it."""
    return shutil.copytree(REFERENCE / "embedding", tmp_path / "models--owner--name/snapshots" / COMMIT)


@pytest.fixture
def hub(monkeypatch, cached):
    """Stands in for the Hugging Face client: returns the cached folder, or raises what `error` is set to."""
    hub = SimpleNamespace(calls=[], error=None)

    def snapshot_download(name, **options):
        hub.calls.append((name, options))
        if hub.error is not None:
            raise hub.error
        return str(cached)

    monkeypatch.setattr(checkpoints, "snapshot_download", snapshot_download)
    return hub


def make_hub_error(error_type):
    request = httpx.Request("GET", "https://hub.example")
    error = error_type.__new__(error_type)
    Exception.__init__(error, "refused")
    error.response = httpx.Response(404, request=request)
    return error


def test_a_folder_is_taken_as_it_is(hub):
    found = locate_checkpoint(REFERENCE / "embedding", kind="embedding")
    assert found.folder == REFERENCE / "embedding"
    assert found.model_id == "embedding"
    assert found.revision.startswith("sha256:")
    assert locate_checkpoint(str(REFERENCE / "embedding"), kind="embedding") == found
    assert hub.calls == []


def test_a_folder_below_the_home_directory_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(REFERENCE / "embedding", tmp_path / "model")
    assert locate_checkpoint("~/model", kind="embedding").folder == tmp_path / "model"


def test_a_revision_of_a_folder_is_refused():
    with pytest.raises(ModelError, match="revision='main' was given with the local folder"):
        locate_checkpoint(REFERENCE / "embedding", kind="embedding", revision="main")


@pytest.mark.parametrize(
    "name", ["./missing", "/missing", "~/missing", "a/b/c", "C:\\missing", "missing/", Path("missing")]
)
def test_a_missing_folder_is_not_looked_up_on_a_hub(hub, monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="does not exist; pass an existing folder, or a hub id"):
        locate_checkpoint(name, kind="embedding")
    assert hub.calls == []


def test_an_empty_name_is_not_the_current_folder(monkeypatch):
    monkeypatch.chdir(REFERENCE / "embedding")
    with pytest.raises(ModelError, match="empty model name"):
        locate_checkpoint("", kind="embedding")


def test_a_file_is_not_a_checkpoint(hub):
    with pytest.raises(ModelError, match="is a file; pass the folder"):
        locate_checkpoint(REFERENCE / "embedding/config.json", kind="embedding")


def test_another_family_is_refused_before_its_weights_are_downloaded(hub, cached):
    (cached / "config.json").write_text('{"model_type": "qwen2_vl"}')
    with pytest.raises(ModelError, match=r"model_type 'qwen2_vl'; supported are Qwen3-VL-Embedding and Qwen3-VL-Rer"):
        locate_checkpoint("owner/name", kind="embedding")
    assert [options["allow_patterns"] for _, options in hub.calls] == [["config.json"]]


def test_a_hub_id_is_downloaded_at_one_commit(hub, cached):
    found = locate_checkpoint(
        "owner/name", kind="embedding", revision="main", token=COMMIT, cache_dir=cached, local_files_only=True
    )
    assert (found.model_id, found.revision, found.folder) == ("owner/name", COMMIT, cached)
    assert [options["revision"] for _, options in hub.calls] == ["main", COMMIT]
    for name, options in hub.calls:
        assert name == "owner/name"
        assert options["token"] == COMMIT
        assert options["cache_dir"] == str(cached)
        assert options["local_files_only"] is True


def test_only_files_that_loading_reads_are_downloaded(hub):
    locate_checkpoint("owner/name", kind="embedding")
    patterns = hub.calls[-1][1]["allow_patterns"]
    names = [path.name for path in (REFERENCE / "embedding").iterdir()]
    assert all(any(Path(name).match(pattern) for pattern in patterns) for name in names)
    assert not any(Path("scripts/run.py").match(pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("error_type", "message"),
    [
        (GatedRepoError, "is gated: accept its terms"),
        (RepositoryNotFoundError, "was not found: it is neither a local folder nor a public repository"),
        (RevisionNotFoundError, "has no revision 'v9'"),
    ],
)
def test_what_the_hub_refuses_is_explained(hub, error_type, message):
    hub.error = make_hub_error(error_type)
    with pytest.raises(ModelError, match=message):
        locate_checkpoint("owner/name", kind="embedding", revision="v9")


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("offline"), httpx.ConnectError("offline"), OSError("full")])
def test_a_failed_download_says_what_to_do_without_network(hub, error):
    hub.error = error
    with pytest.raises(ModelError, match=r"could not be downloaded .* copy the folder here and pass its path"):
        locate_checkpoint("owner/name", kind="embedding")


def test_a_model_missing_from_the_cache_is_explained(hub):
    hub.error = LocalEntryNotFoundError("not cached")
    with pytest.raises(ModelError, match="local_files_only=True forbids the download"):
        locate_checkpoint("owner/name", kind="embedding", local_files_only=True)


def test_an_impossible_hub_id_is_explained(monkeypatch):
    with pytest.raises(ModelError, match="neither a local folder nor a valid hub id"):
        locate_checkpoint("what is this?", kind="embedding", local_files_only=True)


def test_a_partly_downloaded_model_is_refused(hub, cached):
    (cached / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only a part of model 'owner/name' is in the cache"):
        locate_checkpoint("owner/name", kind="embedding")


def test_a_client_without_snapshot_folders_is_identified_by_the_weights(hub, monkeypatch):
    monkeypatch.setattr(checkpoints, "snapshot_download", lambda name, **options: str(REFERENCE / "embedding"))
    assert locate_checkpoint("owner/name", kind="embedding").revision.startswith("sha256:")


def test_an_unknown_hub_is_refused():
    with pytest.raises(ModelError, match="allowed are 'huggingface' and 'modelscope'"):
        locate_checkpoint("owner/name", kind="embedding", model_hub="github")


@pytest.fixture
def modelscope(monkeypatch, cached):
    module = ModuleType("modelscope")
    module.calls = []

    def snapshot_download(name, **options):
        module.calls.append((name, options))
        return str(cached)

    module.snapshot_download = snapshot_download
    monkeypatch.setitem(sys.modules, "modelscope", module)
    return module


def test_a_modelscope_id_is_identified_by_the_weights(modelscope, cached):
    found = locate_checkpoint("owner/name", kind="embedding", model_hub="modelscope", revision="master")
    assert (found.model_id, found.folder) == ("owner/name", cached)
    assert found.revision.startswith("sha256:")
    assert [options["revision"] for _, options in modelscope.calls] == ["master", "master"]
    assert "*.safetensors" in modelscope.calls[-1][1]["allow_patterns"]


def test_modelscope_errors_are_explained(modelscope):
    def fail(name, **options):
        raise KeyError("Data")

    modelscope.snapshot_download = fail
    with pytest.raises(ModelError, match="could not be downloaded from ModelScope \\(KeyError"):
        locate_checkpoint("owner/name", kind="embedding", model_hub="modelscope")


def test_another_family_on_modelscope_is_refused(modelscope, cached):
    (cached / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="model_type 'bert'"):
        locate_checkpoint("owner/name", kind="embedding", model_hub="modelscope")


def test_a_missing_modelscope_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(ModelError, match=r'pip install "qwen3-vl-retrieval\[modelscope\]"'):
        locate_checkpoint("owner/name", kind="embedding", model_hub="modelscope")


def test_the_pocket_model_comes_from_its_package(monkeypatch):
    pocket = ModuleType("qwen3_vl_pocket")
    pocket.checkpoint_folder = lambda kind: REFERENCE / kind
    monkeypatch.setitem(sys.modules, "qwen3_vl_pocket", pocket)
    found = locate_checkpoint("pocket", kind="reranker")
    assert (found.model_id, found.folder) == ("pocket", REFERENCE / "reranker")
    assert found.revision.startswith("sha256:")
    with pytest.raises(ModelError, match="given with 'pocket'"):
        locate_checkpoint("pocket", kind="reranker", revision="main")


def test_a_missing_pocket_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen3_vl_pocket", None)
    with pytest.raises(ModelError, match="pip install qwen3-vl-pocket"):
        locate_checkpoint("pocket", kind="embedding")
