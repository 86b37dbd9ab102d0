"""What a server has done, as Prometheus reads it; each server has a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qwen3_vl_retrieval.engine.statistics import EngineStatistics
from qwen3_vl_retrieval.server.admission import Admission

__all__ = ["MetricsMiddleware", "ReadStatistics", "ServerMetrics"]

ReadStatistics = Callable[[], EngineStatistics]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_CLIENT_LEFT = 499

_ENGINE_COUNTERS = {
    "qwen3vl_forward_passes": ("batches", "Forward passes of the language model"),
    "qwen3vl_tokens": ("tokens_real", "Tokens of all prompts"),
    "qwen3vl_tokens_computed": ("tokens_computed", "Tokens that passed through the language model, padding included"),
    "qwen3vl_vision_encodes": ("vision_encodes", "Images and videos that passed through the vision tower"),
}


class ServerMetrics:
    """Counters of one server.

    Args:
        admission: Says how many requests wait and run.
        statistics: What models in this process have computed, by their role (`"embedder"`, `"reranker"`).
    """

    def __init__(self, admission: Admission, statistics: Mapping[str, ReadStatistics]) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "qwen3vl_requests", "Requests that were answered", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "qwen3vl_request_seconds",
            "Time from the head of a request to the end of its answer",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._items = Counter(
            "qwen3vl_items",
            "Items that were embedded and documents that were judged",
            ["kind"],
            registry=self._registry,
        )
        waiting = Gauge("qwen3vl_waiting_requests", "Requests that wait for a turn", registry=self._registry)
        waiting.set_function(lambda: admission.waiting)
        running = Gauge("qwen3vl_running_requests", "Requests that are computed", registry=self._registry)
        running.set_function(lambda: admission.running)
        self._registry.register(_EngineCollector(statistics))

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_items(self, kind: str, count: int) -> None:
        """Counts items that were computed; `kind` is `"embedded"` or `"judged"`."""
        self._items.labels(kind).inc(count)

    def render(self) -> bytes:
        """Returns everything in the text format of Prometheus."""
        return generate_latest(self._registry)


class _EngineCollector(Collector):
    """Reads the counters of the engines when they are asked for."""

    def __init__(self, statistics: Mapping[str, ReadStatistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterable[Metric]:
        now = {role: read() for role, read in self._statistics.items()}
        for name, (field, description) in _ENGINE_COUNTERS.items():
            family = CounterMetricFamily(name, description, labels=["model"])
            for role, counters in now.items():
                family.add_metric([role], getattr(counters, field))
            yield family


class MetricsMiddleware:
    """Counts each request by its route and status."""

    def __init__(self, app: ASGIApp, *, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on, and notes what was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        # If nothing is answered, the client has left.
        status = _CLIENT_LEFT

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            # The pattern, not the path: clients could invent any number of paths.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.count_request(route, status, time.perf_counter() - started)
