"""Text files in other encodings than UTF-8: recognised with some confidence, or refused by name."""

from __future__ import annotations

import charset_normalizer
import pytest

from qwen3_vl_retrieval import MediaError, MediaPolicy
from qwen3_vl_retrieval.documents.encodings import decode_text
from qwen3_vl_retrieval.documents.files import find_kind
from qwen3_vl_retrieval.documents.units import read_units

POLICY = MediaPolicy()

GERMAN = "Die Gäste können später kommen, wenn sie möchten. Die Straße ist kühl und naß, die Tür überprüft."
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю. Мы пошли гулять в парк и встретили друзей."
JAPANESE = "今日は天気がいいので、公園まで散歩に行きました。黄色い傘を忘れないでください。"
CHINESE = "今天天气很好，我们去公园散步。黄色的雨伞放在门口，请不要忘记带走。"
TRADITIONAL = "今天天氣很好，我們去公園散步。黃色的雨傘放在門口，請不要忘記帶走。"
KOREAN = "오늘은 날씨가 좋아서 공원에 산책하러 갔습니다. 노란 우산을 문 앞에 두었습니다."

SAMPLES = [
    ("cp1252", GERMAN),
    ("cp1252", "The report doesn’t say more – only “a few words” about the price of each umbrella in the office."),
    (
        "cp1252",
        "Le garçon a mangé une crêpe à l'été dernier, près de la forêt. Nous étions très fatigués après la journée.",
    ),
    ("cp1250", "Zażółć gęślą jaźń. Dzisiaj jest ładna pogoda i dzieci bawią się na świeżym powietrzu."),
    ("cp1251", RUSSIAN),
    ("koi8-r", RUSSIAN),
    ("cp1253", "Σήμερα ο καιρός είναι πολύ καλός και πήγαμε βόλτα στο πάρκο."),
    ("cp1255", "היום מזג האוויר יפה מאוד והלכנו לטייל בפארק"),
    ("cp1256", "الطقس جميل اليوم وذهبنا للتنزه في الحديقة"),
    ("shift_jis", JAPANESE),
    ("euc_jp", JAPANESE),
    ("gb18030", CHINESE),
    ("big5", TRADITIONAL),
    ("euc_kr", KOREAN),
    ("utf-8", GERMAN),
    ("utf-8-sig", JAPANESE),
    ("utf-16", CHINESE),
    ("utf-32", KOREAN),
    ("utf-16-le", GERMAN),
    ("utf-16-be", GERMAN),
    ("utf-16-le", (CHINESE + "\n 12\n") * 3),
]


@pytest.mark.parametrize(("encoding", "text"), SAMPLES)
@pytest.mark.parametrize("times", [1, 20])
def test_a_text_is_read_in_its_encoding(tmp_path, encoding, text, times):
    text = "\n".join([text] * times)
    assert decode_text(text.encode(encoding)) == text
    (tmp_path / "note.txt").write_bytes(text.encode(encoding))
    units = read_units(tmp_path / "note.txt", POLICY)
    assert (units[0].text or "")[:30] == text[:30]


@pytest.mark.parametrize(("encoding", "text"), [("cp1252", GERMAN), ("cp932", JAPANESE), ("gb18030", CHINESE)])
def test_an_encoding_is_recognised_far_into_a_file_from_a_sample(monkeypatch, encoding, text):
    seen = []
    real = charset_normalizer.from_bytes
    monkeypatch.setattr(
        charset_normalizer, "from_bytes", lambda sample, **options: seen.append(len(sample)) or real(sample, **options)
    )
    content = "plain letters only\n" * 30_000 + (text + " ") * 5_000
    assert decode_text(content.encode(encoding)) == content
    assert len(seen) == 1
    assert seen[0] <= 64 * 1024


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("déjà vu".encode("latin-1"), "byte 1 is 0xe9.*confidence.*save it as UTF-8"),
        (bytes(range(128, 160)) * 50, "not UTF-8.*save it as UTF-8"),
        (b"MZ\x90\0\3\0\0\0\4\0\0\0\xff\xff\0\0" * 40, "binary"),
        (b"ab\0cdefghi", "binary"),
        (b"\xff\xfea\0b", "utf-16"),
        (b"\xef\xbb\xbfa\xff", "utf-8"),
    ],
)
def test_what_is_not_sure_is_refused_and_says_what_was_found(content, message):
    with pytest.raises(MediaError, match=message):
        decode_text(content)


def test_a_bad_byte_in_utf_8_becomes_a_replacement_character():
    content = (GERMAN * 3).encode() + b"\xff " + GERMAN.encode()[:-1]
    assert decode_text(content) == GERMAN * 3 + "\ufffd " + GERMAN[:-1]
    # Cut within a letter.
    assert decode_text((JAPANESE * 2).encode()[:-1]) == (JAPANESE * 2)[:-1] + "\ufffd"


def test_typescript_and_translations_are_text_and_transport_streams_are_video(tmp_path):
    packet = b"G" + b"\x40\0\x10" + b"\xff" * 184
    for name, content, kind in [
        ("code.ts", b"export const a: number = 1;\n" * 50, "text"),
        ("qt.ts", b"<?xml version='1.0'?><!DOCTYPE TS><TS/>", "text"),
        ("empty.ts", b"", "text"),
        ("module.mts", b"import a from 'a';\n", "text"),
        ("film.ts", packet * 20, "video"),
        ("CAMERA.MTS", (b"\0\0\0\0" + packet) * 20, "video"),
        ("cut.ts", packet[100:] + packet * 20, "video"),
        ("checked.ts", (packet + b"\0" * 16) * 20, "video"),
    ]:
        (tmp_path / name).write_bytes(content)
        assert find_kind(tmp_path / name) == kind, name
    assert find_kind(tmp_path / "missing.ts") == "text"


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.tsv", "a.log", "a.YAML", "a.toml", "a.xml", "a.svg", "a.py", "a.rs", "a.ts"]
)
def test_data_and_source_code_are_text(tmp_path, name):
    (tmp_path / name).write_text("yellow: umbrella\n")
    assert [unit.text for unit in read_units(tmp_path / name, POLICY)] == ["yellow: umbrella"]


@pytest.mark.parametrize("name", ["a.m2ts", "a.3gp", "a.3g2", "a.flv", "a.ogv", "a.wmv", "a.vob"])
def test_more_containers_are_video(tmp_path, name):
    assert find_kind(tmp_path / name) == "video"


@pytest.mark.parametrize("name", ["a.docx", "a.html"])
def test_office_files_and_web_pages_stay_refused(tmp_path, name):
    assert find_kind(tmp_path / name) == "office"
