"""Does indexing need more memory when there are more files?

uv run python benchmarks/index_memory.py [--units 500 2000]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import write_result
from pocket_files import write_files

_RUN = """
import json, resource, sys
from pathlib import Path
from qwen3_vl_retrieval import Qwen3VLEmbedder
from qwen3_vl_retrieval.index import MultimodalIndex
embedder = Qwen3VLEmbedder.from_pretrained("pocket")
with MultimodalIndex.open(sys.argv[2], embedder) as index:
    report = index.sync(sys.argv[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = {"files": report.added_files, "units": len(index)}
    print(json.dumps({**counts, "peak_mib": round(peak), "seconds": report.seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[500, 2000])
    runs = []
    for units in parser.parse_args().units:
        work = Path(tempfile.mkdtemp())
        write_files(work / "files", units, seed=5)
        command = [sys.executable, "-c", _RUN, str(work / "files"), str(work / "index")]
        runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        shutil.rmtree(work)
    write_result("index_memory", {"runs": runs})


if __name__ == "__main__":
    main()
