"""What does a server cost, and does it hold? `qwen3vl serve` with the pocket models, asked by clients of this machine.

Every answer is compared with that of the same models in this process: none may be lost, and none another's.

uv run python benchmarks/server_load.py [--clients 64] [--requests 20] [--lasting 5000] [--queries 200]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import random
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import httpx
import numpy as np
from machine import write_result
from PIL import Image, ImageDraw
from process_trees import measure_tree_bytes
from speed_inputs import draw_texts

from qwen3_vl_retrieval import Qwen3VLEmbedder, Qwen3VLReranker

TOLERANCE = 1e-4
"""Rounding in float32 among other neighbours; vectors of different items differ by 0.01 and more."""

KINDS = {"query": 70, "texts": 12, "bulk": 5, "image": 8, "rerank": 5}
"""Parts of a hundred requests: a query, 8 texts, 48 texts, an image with a text, 8 documents for a query."""


class Case:
    """A request whose answer is known."""

    def __init__(self, kind, path, body, expected):
        self.kind, self.path, self.body, self.expected = kind, path, body, np.asarray(expected, dtype=np.float64)

    def check(self, answer):
        """Raises an error unless the answer is this request's own."""
        if self.kind == "rerank":
            found = [place["score"] for place in sorted(answer, key=lambda place: place["index"])]
        else:
            found = [row["embedding"] for row in answer["data"]]
        found = np.asarray(found)
        if found.shape != self.expected.shape or np.abs(found - self.expected).max() > TOLERANCE:
            raise AssertionError(f"{self.kind}: the answer is not that of the same models in this process")


def draw_image(number):
    image = Image.new("RGB", (128, 128), "white")
    color = (number * 37 % 256, number * 91 % 256, number * 53 % 256)
    ImageDraw.Draw(image).ellipse((10, 10, 60 + number % 60, 60 + number * 7 % 60), fill=color)
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def build_cases(embedder, reranker, count, rng):
    """Cases of all kinds, in the shares of `KINDS`."""
    texts = draw_texts(600, fewest=4, most=60)
    vectors, queries = embedder.embed(texts), embedder.embed_queries(texts)
    images = [draw_image(number) for number in range(40)]
    image_vectors = embedder.embed([{"image": image, "text": "a shape"} for image in images])
    judged = [(query, rng.sample(texts, 8)) for query in texts[:20]]
    scores = [reranker.score(query, documents) for query, documents in judged]
    cases = []
    for kind in rng.choices(list(KINDS), weights=list(KINDS.values()), k=count):
        if kind == "query":
            place = rng.randrange(len(texts))
            body = {"input": texts[place], "input_type": "query"}
            cases.append(Case(kind, "/v1/embeddings", body, queries[[place]]))
        elif kind == "image":
            place = rng.randrange(len(images))
            uri = "data:image/png;base64," + base64.b64encode(images[place]).decode()
            content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": "a shape"}]
            body = {"messages": [{"role": "user", "content": content}]}
            cases.append(Case(kind, "/v1/embeddings", body, image_vectors[[place]]))
        elif kind == "rerank":
            place = rng.randrange(len(judged))
            query, documents = judged[place]
            cases.append(Case(kind, "/rerank", {"query": query, "texts": documents}, scores[place]))
        else:
            places = rng.sample(range(len(texts)), 8 if kind == "texts" else 48)
            body = {"input": [texts[place] for place in places]}
            cases.append(Case(kind, "/v1/embeddings", body, vectors[places]))
    return cases


async def send(client, case, seconds):
    began = time.perf_counter()
    response = await client.post(case.path, json=case.body)
    seconds[case.kind].append(time.perf_counter() - began)
    response.raise_for_status()
    case.check(response.json())


async def run_clients(url, cases_of_clients):
    """Each client sends its requests one after the other; returns seconds by kind, and of all."""
    seconds = defaultdict(list)

    async def run_client(cases):
        async with httpx.AsyncClient(base_url=url, timeout=600) as client:
            for case in cases:
                await send(client, case, seconds)

    began = time.perf_counter()
    await asyncio.gather(*map(run_client, cases_of_clients))
    return seconds, time.perf_counter() - began


def describe(seconds):
    return {
        "requests": len(seconds),
        "p50_ms": round(1000 * float(np.percentile(seconds, 50)), 1),
        "p95_ms": round(1000 * float(np.percentile(seconds, 95)), 1),
    }


def read_counter(url, name):
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith(name):
            return float(line.rsplit(" ", 1)[1])
    raise KeyError(name)


def count_passes(url):
    return sum(
        read_counter(url, f'qwen3vl_forward_passes_total{{model="{role}"}}') for role in ("embedder", "reranker")
    )


def measure_load(url, cases, clients):
    before = count_passes(url)
    seconds, total = asyncio.run(run_clients(url, [cases[number::clients] for number in range(clients)]))
    everything = [value for values in seconds.values() for value in values]
    return {
        "clients": clients,
        **describe(everything),
        "by_kind": {kind: describe(seconds[kind]) for kind in KINDS if seconds[kind]},
        "answered_and_right": len(everything),
        "requests_per_second": round(len(everything) / total, 1),
        "forward_passes": int(count_passes(url) - before),
    }


REST_SECONDS = 0.005
"""Before each single query: a loop without it keeps the caller's core and caches warm, and no server's."""


def measure_single_query(url, embedder, count):
    """In turns of ten, so that what else the machine does falls on all, and the threads of one are at rest by then."""
    texts = draw_texts(count, fewest=4, most=12)
    seconds = defaultdict(list)
    with asyncio.Runner() as runner, httpx.Client(base_url=url, timeout=60) as client:
        ways = {
            "embed": lambda text: embedder.embed_queries([text]),
            "aembed": lambda text: runner.run(embedder.aembed([text], input_type="query")),
            "server": lambda text: client.post("/v1/embeddings", json={"input": text, "input_type": "query"}),
        }
        for start in range(0, count, 10):
            for name, way in ways.items():
                way(texts[start])
                for text in texts[start : start + 10]:
                    time.sleep(REST_SECONDS)
                    began = time.perf_counter()
                    way(text)
                    seconds[name].append(time.perf_counter() - began)
    medians = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    return {
        "queries": count,
        "rest_ms": 1000 * REST_SECONDS,
        **{f"{name}_median_ms": round(value, 2) for name, value in medians.items()},
        "added_to_embed_ms": round(medians["server"] - medians["embed"], 2),
        "added_to_aembed_ms": round(medians["server"] - medians["aembed"], 2),
    }


def measure_memory(url, pid, cases, clients):
    """Memory of the server and its readers after each thousand requests."""
    mebibytes = []
    step = max(1, len(cases) // 5)
    for start in range(0, len(cases), step):
        part = cases[start : start + step]
        asyncio.run(run_clients(url, [part[number::clients] for number in range(clients)]))
        mebibytes.append(round(measure_tree_bytes(pid) / 2**20))
    return {"requests": len(cases), "clients": clients, "every": step, "mib": mebibytes}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--lasting", type=int, default=5000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    command = [str(Path(sys.executable).with_name("qwen3vl")), "serve", "--embedder", "pocket", "--reranker", "pocket"]
    loading = ["--device", "cpu", "--dtype", "float32", "--port", "0"]
    with subprocess.Popen([*command, *loading], stderr=subprocess.PIPE, text=True) as process:
        try:
            embedder = Qwen3VLEmbedder.from_pretrained("pocket", device="cpu", dtype="float32")
            reranker = Qwen3VLReranker.from_pretrained("pocket", device="cpu", dtype="float32")
            rng = random.Random(5)
            cases = build_cases(embedder, reranker, options.clients * options.requests, rng)
            lasting = build_cases(embedder, reranker, options.lasting, rng)
            url = next(found[0] for line in process.stderr if (found := re.search(r"http://[\d.:]+", line)))
            result = {
                "single_query": measure_single_query(url, embedder, options.queries),
                "load": measure_load(url, cases, options.clients),
                "memory": measure_memory(url, process.pid, lasting, 16),
            }
        finally:
            process.send_signal(signal.SIGTERM)
    write_result("server_load", result)


if __name__ == "__main__":
    main()
