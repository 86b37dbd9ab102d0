"""What is said in a video: heard once, and the text of the windows in which it is said."""

from __future__ import annotations

import sys
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from job_runs import read_parts
from qwen3_vl_retrieval import MediaPolicy, ModelError, StoreError
from qwen3_vl_retrieval.cli import app
from qwen3_vl_retrieval.documents.units import read_units
from qwen3_vl_retrieval.index import MultimodalIndex, WhisperTranscriber, transcribe_with_whisper
from qwen3_vl_retrieval.jobs import ReadingOptions, embed_source
from qwen3_vl_retrieval.media.audio import decode_audio
from qwen3_vl_retrieval.testing import FakeEmbedder
from spoken_videos import hear_nothing_but_apples, hear_tones, write_spoken_video

POLICY = MediaPolicy()

SPOKEN = {(0.5, 1.5): "apple", (3.2, 4.8): "banana", (8.0, 9.0): "cherry"}

WINDOWS = {"window_seconds": 4.0, "overlap_seconds": 0.0}


def list_texts(path, hook=hear_tones, **options):
    return [unit.text for unit in read_units(path, POLICY, asr=hook, **{**WINDOWS, **options})]


def refuse_to_hear(samples):
    pytest.fail(f"{len(samples)} samples were to be transcribed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_spoken_video(folder / "talk.mkv", SPOKEN, seconds=12)
    return folder


@pytest.fixture(scope="module")
def talk(folder):
    return folder / "talk.mkv"


def test_each_window_has_what_is_said_in_it_and_what_is_said_over_its_end_is_in_both(talk):
    assert list_texts(talk) == ["apple banana", "banana", "cherry"]


def test_windows_that_overlap_share_what_is_said_where_they_do(talk):
    units = read_units(talk, POLICY, asr=hear_tones, window_seconds=8.0, overlap_seconds=4.0)
    assert [(unit.start, unit.text) for unit in units] == [(0.0, "apple banana"), (4.0, "banana cherry")]


def test_a_video_of_one_window_has_all_that_is_said(talk):
    (unit,) = read_units(talk, POLICY, asr=hear_tones)
    assert (unit.start, unit.text) == (None, "apple banana cherry")


def test_nothing_is_heard_unless_asked_for(talk):
    assert [unit.text for unit in read_units(talk, POLICY, **WINDOWS)] == [None, None, None]


def test_the_sound_of_a_file_is_transcribed_once(talk):
    lengths = []

    def hear(samples):
        assert samples.dtype == np.float32
        lengths.append(len(samples))
        return hear_tones(samples)

    assert list_texts(talk, hear, window_seconds=2.0, overlap_seconds=1.0)[:2] == ["apple", "apple"]
    assert lengths == [pytest.approx(12 * 16_000, rel=0.01)]


def test_compressed_sound_is_heard_in_its_place(tmp_path):
    path = write_spoken_video(tmp_path / "talk.mp4", SPOKEN, seconds=12, codec="aac")
    assert list_texts(path) == ["apple banana", "banana", "cherry"]


def test_sound_that_begins_after_the_first_frame_keeps_its_place(tmp_path):
    path = write_spoken_video(tmp_path / "late.mkv", SPOKEN, seconds=12, sound_from=3.0)
    assert list_texts(path) == ["banana", "banana", "cherry"]


@pytest.mark.parametrize("spoken", [None, {}], ids=["without sound", "silent"])
def test_there_is_nothing_to_transcribe_in_a_video_without_sound_or_that_is_silent(spoken, tmp_path):
    path = write_spoken_video(tmp_path / "still.mkv", spoken, seconds=8)
    assert list_texts(path, refuse_to_hear) == [None, None]


def test_subtitles_of_the_file_go_before_what_is_heard(tmp_path):
    subtitles = {(0.2, 2.0): r"{\an8}An apple,\Nlong ago", (5.0, 6.0): "and a pear"}
    path = write_spoken_video(tmp_path / "subtitled.mkv", SPOKEN, seconds=12, subtitles=subtitles)
    assert list_texts(path, refuse_to_hear) == ["An apple, long ago", "and a pear", None]


def test_long_sound_is_cut_where_it_is_quiet(tmp_path):
    spoken = {(0.0, 284.0): "apple", (284.5, 310.0): "banana"}
    path = write_spoken_video(tmp_path / "long.mkv", spoken, seconds=310, frame_rate=1)
    stretches = list(decode_audio(path, POLICY, first_seconds=0.0, end_seconds=310.0))
    assert [one.start for one in stretches] == [0.0, pytest.approx(284.25, abs=0.25)]
    assert sum(len(one.samples) for one in stretches) == pytest.approx(310 * 16_000, abs=1_600)
    assert list_texts(path, window_seconds=155.0) == ["apple", "apple banana"]


def test_sound_that_cannot_be_decoded_leaves_the_windows_and_a_warning(talk, tmp_path, caplog):
    path = tmp_path / "strange.mkv"
    path.write_bytes(talk.read_bytes().replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    assert list_texts(path, refuse_to_hear) == [None, None, None]
    assert "strange.mkv" in caplog.text
    assert "codec of the sound" in caplog.text


def test_what_is_said_is_found_in_an_index(folder, tmp_path):
    with MultimodalIndex.open(tmp_path / "index", FakeEmbedder(), asr=hear_tones, **WINDOWS) as index:
        index.sync(folder)
        first = index.search('"cherry"', k=1)[0]
        assert (first.start, first.text) == (8.0, "cherry")


def test_a_run_knows_by_what_hook_its_texts_were_made(folder, tmp_path):
    def embed(hook):
        embedder = FakeEmbedder()
        report = embed_source(folder, tmp_path / "run", embedder, reading=ReadingOptions(asr=hook, **WINDOWS))
        texts = [row["text"] for row in sorted(read_parts(tmp_path / "run").values(), key=lambda row: row["start"])]
        return texts, report.finished_shards, len(embedder.embedded)

    assert embed(hear_tones) == (["apple banana", "banana", "cherry"], 1, 3)
    assert embed(hear_tones) == (["apple banana", "banana", "cherry"], 0, 0)
    # Another hook reads the files again; what the frames show is not embedded again.
    assert embed(hear_nothing_but_apples) == (["apple", None, None], 1, 0)


def test_a_run_tells_hooks_by_their_options_and_refuses_those_without_a_name():
    plain, german = (
        ReadingOptions(asr=partial(transcribe_with_whisper, language=language)).describe() for language in (None, "de")
    )
    assert plain != german
    assert plain["asr"] == 'qwen3_vl_retrieval.documents.whisper.transcribe_with_whisper[[], {"language": null}]'
    for nameless in (WhisperTranscriber(SpeechModel()), partial(transcribe_with_whisper, model=SpeechModel())):
        with pytest.raises(ValueError, match=r"asr=.* has no name by which a run could know it again"):
            ReadingOptions(asr=nameless)


class SpeechModel:
    """Stands for a model of faster-whisper."""

    def __init__(self, *names, **options):
        self.loaded = (names, options)
        self.asked = []

    def transcribe(self, audio, **options):
        self.asked.append(options)
        said = ((one.start, one.end, f" {one.text}") for one in hear_tones(audio))
        return (SimpleNamespace(start=start, end=end, text=text) for start, end, text in said), SimpleNamespace()


class UnreachableModel:
    def __init__(self, *names, **options):
        raise OSError(f"{names[0]} is not on the hub")


@pytest.fixture
def install_whisper(monkeypatch):
    """Puts a stand-in in the place of faster-whisper; what is loaded by one test is forgotten before the next."""

    def install(model):
        package = ModuleType("faster_whisper")
        package.__spec__ = ModuleSpec("faster_whisper", None)
        package.WhisperModel = model
        monkeypatch.setitem(sys.modules, "faster_whisper", package)

    return install


def test_a_model_of_faster_whisper_is_asked_for_speech_alone(talk):
    model = SpeechModel()
    assert list_texts(talk, WhisperTranscriber(model, language="de")) == ["apple banana", "banana", "cherry"]
    assert model.asked == [{"language": "de", "vad_filter": True, "condition_on_previous_text": False}]


def test_without_faster_whisper_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(StoreError, match=r"qwen3-vl-retrieval\[speech\]"):
        WhisperTranscriber.from_pretrained("small")


def test_a_speech_model_that_cannot_be_loaded_is_named(install_whisper):
    install_whisper(UnreachableModel)
    with pytest.raises(ModelError, match="the speech model 'enormous' cannot be loaded"):
        transcribe_with_whisper(np.zeros(16_000, dtype=np.float32), model="enormous")


def test_the_command_embeds_with_a_speech_model(folder, tmp_path, install_whisper):
    install_whisper(SpeechModel)
    options = ["--model", "pocket", "--window-seconds", "4", "--overlap-seconds", "0"]
    command = ["embed", str(folder), "--to", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(app, [*command, "--asr", "stand-in", "--asr-language", "en"])
    assert result.exit_code == 0, result.output
    texts = sorted(row["text"] for row in read_parts(tmp_path / "run").values())
    assert texts == ["apple banana", "banana", "cherry"]


def test_the_command_says_what_a_speech_model_needs(folder, tmp_path, monkeypatch):
    alone = CliRunner().invoke(app, ["embed", str(folder), "--to", str(tmp_path / "run"), "--asr-language", "en"])
    assert (alone.exit_code, "add --asr" in alone.output) == (2, True)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    missing = CliRunner().invoke(app, ["embed", str(folder), "--to", str(tmp_path / "run"), "--asr", "small"])
    assert (missing.exit_code, "qwen3-vl-retrieval[speech]" in missing.output) == (1, True)
