"""Files are read in processes that are ended when they take too much, and what they take is named."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen3_vl_retrieval.errors import MediaError, MediaPolicyError
from qwen3_vl_retrieval.media import reader_processes
from qwen3_vl_retrieval.media.pdf import count_pdf_pages, read_pdf_text, read_pdf_texts, render_pdf_page
from qwen3_vl_retrieval.media.policy import MediaPolicy
from qwen3_vl_retrieval.media.reader_processes import read, stream

POLICY = MediaPolicy()
IMPATIENT = MediaPolicy(max_read_seconds=1)
FRUGAL = MediaPolicy(max_read_bytes=64 * 1024 * 1024)


def write_nested_forms(*, levels, repeats=10, pages=1):
    """A PDF whose first page draws a form that draws a form…, `repeats` times each: 2 KB that ask for 10⁹ squares."""
    forms = b"".join(b"/F%d %d 0 R " % (level, 4 + level) for level in range(levels))
    kids = b" ".join(b"%d 0 R" % (100 + 2 * page) for page in range(pages))
    bodies = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        3: b"<< /XObject << %s >> >>" % forms,
    }
    for level in range(levels):
        content = b"0 0 1 1 re f" if level == 0 else b" ".join([b"/F%d Do" % (level - 1)] * repeats)
        bodies[4 + level] = (
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources 3 0 R /Length %d >> stream\n%s\nendstream"
            % (len(content), content)
        )
    for page in range(pages):
        # The first page is the poisonous one.
        content = b"/F%d Do" % (levels - 1) if page == 0 else b"0 0 5 5 re f"
        bodies[100 + 2 * page] = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 90 90] /Resources 3 0 R /Contents %d 0 R >>"
            % (101 + 2 * page)
        )
        bodies[101 + 2 * page] = b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content)
    out = bytearray(b"%PDF-1.4\n")
    for number, body in bodies.items():
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    return bytes(out + b"trailer << /Root 1 0 R >>\n%%EOF")


def test_what_a_function_returns_and_raises_comes_back_from_another_process():
    assert read(os.getpid, POLICY, "the file") != os.getpid()
    assert read(math.hypot, POLICY, "the file", 3, 4) == 5
    with pytest.raises(ZeroDivisionError):
        read(divmod, POLICY, "the file", 1, 0)


def test_the_cause_of_an_error_comes_back_too(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"no PDF")
    with pytest.raises(MediaError) as caught:
        count_pdf_pages(tmp_path / "a.pdf", POLICY)
    assert type(caught.value.__cause__).__name__ == "PdfiumError"


def test_one_process_answers_many_calls():
    assert len({read(os.getpid, POLICY, "the file") for _ in range(5)}) == 1


def test_reading_that_takes_too_long_is_ended_and_the_next_is_not_harmed():
    with pytest.raises(MediaPolicyError, match="the file takes longer to read than max_read_seconds=1;"):
        read(sum, IMPATIENT, "the file", range(10**12))
    assert read(abs, IMPATIENT, "the file", -1) == 1


def test_reading_that_waits_for_ever_is_ended_after_a_while():
    with pytest.raises(MediaPolicyError, match="takes longer to read than"):
        read(time.sleep, MediaPolicy(max_read_seconds=0.2), "the file", 600)


@pytest.mark.skipif(sys.platform != "linux", reason="processor time of another process is known on Linux")
def test_waiting_is_no_reason_to_end_reading():
    read(time.sleep, MediaPolicy(max_read_seconds=0.5), "the file", 2)


def test_reading_that_needs_too_much_memory_is_ended():
    with pytest.raises(MediaPolicyError, match="the file needs more memory to read than max_read_bytes=67,108,864;"):
        read(bytearray, FRUGAL, "the file", 400 * 1024 * 1024)
    # So much at once that the kernel refuses it.
    with pytest.raises(MediaPolicyError, match="max_read_bytes"):
        read(bytearray, FRUGAL, "the file", 1 << 40)
    assert read(len, FRUGAL, "the file", b"abc") == 3


@pytest.mark.parametrize(
    ("crash", "arguments", "status"), [(os.abort, (), "SIGABRT"), (os._exit, (3,), "exit status 3")]
)
def test_a_crash_of_a_library_is_an_error_about_the_file(crash, arguments, status):
    with pytest.raises(MediaError, match=f"the file is damaged: the library that reads it crashed .{status}"):
        read(crash, POLICY, "the file", *arguments)
    assert read(abs, POLICY, "the file", -1) == 1


def test_a_process_that_was_killed_while_idle_is_replaced():
    os.kill(read(os.getpid, POLICY, "the file"), signal.SIGKILL)
    time.sleep(0.2)
    assert read(abs, POLICY, "the file", -1) == 1


def test_a_stream_yields_value_by_value_and_may_be_left_early():
    assert list(stream(range, POLICY, "the file", 1000)) == list(range(1000))
    before = read(os.getpid, POLICY, "the file")
    for end in (0, 1, 7):
        values = stream(range, POLICY, "the file", 10**9)
        assert [next(values) for _ in range(end)] == list(range(end))
        values.close()
    # Stopped, not killed.
    assert read(os.getpid, POLICY, "the file") == before


def test_an_error_in_a_stream_comes_after_the_values_before_it():
    values = stream(map, POLICY, "the file", abs, [1, "two"])
    assert next(values) == 1
    with pytest.raises(TypeError):
        next(values)


def test_the_time_limit_of_a_stream_holds_for_each_value():
    values = stream(map, IMPATIENT, "the file", sum, [range(10**7)] * 12 + [range(10**12)])
    assert [next(values) for _ in range(12)] == [sum(range(10**7))] * 12
    with pytest.raises(MediaPolicyError, match="max_read_seconds"):
        next(values)


def test_threads_share_processes_and_get_their_own_answers():
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda n: read(abs, POLICY, "the file", -n), range(200))) == list(range(200))
        ids = set(threads.map(lambda _: read(os.getpid, POLICY, "the file"), range(50)))
    assert len(ids) <= min(8, os.cpu_count())


def test_without_isolation_the_function_runs_here():
    assert read(os.getpid, MediaPolicy(isolate_reading=False), "the file") == os.getpid()
    assert list(stream(range, MediaPolicy(isolate_reading=False), "the file", 3)) == [0, 1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_reads_with_processes_of_its_own():
    parents = read(os.getpid, POLICY, "the file")
    held = threading.Event()
    reading = threading.Thread(target=lambda: [held.set(), read(time.sleep, POLICY, "the file", 2)])
    reading.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if read(os.getpid, POLICY, "the file") != parents else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    reading.join()
    assert read(abs, POLICY, "the file", -1) == 1


def test_readers_end_with_their_parent_even_when_it_is_killed():
    script = (
        "import os, signal; from qwen3_vl_retrieval.media.policy import MediaPolicy; "
        "from qwen3_vl_retrieval.media.reader_processes import read; "
        "print(read(os.getpid, MediaPolicy(), 'x'), flush=True); {}"
    )
    for end in ("pass", "os.kill(os.getpid(), signal.SIGKILL)"):
        done = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-c", script.format(end)], stdout=subprocess.PIPE, text=True, timeout=120, check=False
        )
        reader = int(done.stdout)
        for _ in range(600):
            if not is_running(reader):
                break
            time.sleep(0.05)
        assert not is_running(reader)


def is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A process that ended and that nobody has waited for is not running.
    with open(f"/proc/{process_id}/stat") as file:  # noqa: PTH123 - no regular file
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_script_without_a_main_guard_reads_files(tmp_path):
    (tmp_path / "script.py").write_text(
        "print('once')\n"
        "from qwen3_vl_retrieval.media import MediaPolicy, render_pdf_page\n"
        f"print(render_pdf_page({write_nested_forms(levels=1)!r}, 1, MediaPolicy(), max_pixels=100).size)\n"
    )
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split("\n")[:2] == ["once", "(10, 10)"]
    assert done.stderr == ""


def test_a_policy_with_relative_folders_holds_after_the_working_directory_changed(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(write_nested_forms(levels=1))
    read(os.getpid, POLICY, "the file")
    monkeypatch.chdir(tmp_path)
    assert count_pdf_pages("a.pdf", MediaPolicy(allow_dirs=(".",))) == 1


@pytest.mark.parametrize("read_page", [render_pdf_page, read_pdf_text])
def test_a_poisonous_pdf_is_an_error_within_its_limits(read_page):
    poison = write_nested_forms(levels=9)
    with pytest.raises(MediaPolicyError, match=r"page 1 of the PDF given as bytes (takes longer|needs more memory)"):
        read_page(poison, 1, MediaPolicy(max_read_seconds=2, max_read_bytes=256 * 1024 * 1024))


def test_the_pages_after_a_poisonous_one_are_read():
    poison = write_nested_forms(levels=9, pages=3)
    frugal = MediaPolicy(max_read_seconds=20, max_read_bytes=256 * 1024 * 1024)
    with pytest.raises(MediaPolicyError):
        list(read_pdf_texts(poison, frugal))
    assert list(read_pdf_texts(poison, frugal, first_page=2)) == ["", ""]
    assert render_pdf_page(poison, 2, frugal).getpixel((1, 1)) == (255, 255, 255)


def test_no_process_starts_at_import():
    script = "import qwen3_vl_retrieval.media.pdf; print(qwen3_vl_retrieval.media.reader_processes._POOL._count)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    assert done.stdout.strip() == "0"


def test_an_interpreter_that_cannot_start_readers_says_what_to_do(monkeypatch):
    monkeypatch.setattr(reader_processes.multiprocessing.spawn, "get_executable", lambda: "/bin/false")
    monkeypatch.setattr(reader_processes, "_POOL", reader_processes._Pool())
    with pytest.raises(MediaError, match="isolate_reading=False"):
        read(abs, POLICY, "the file", -1)
