"""What /metrics says, for Prometheus.

No label comes from a client: routes are those of the application, codes those of the problem
documents, findings those of the contract.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from contract.findings import FINDINGS
from service.key_file import KeyFile
from service.state import State

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
# Closer where most radiographs lie.
_PROBABILITIES: Final = np.array(
    (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
)


class Metrics:
    """Counters and histograms of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "xpro_requests",
            "Requests by route and outcome: ok, a problem's code, not_ready or client_gone",
            ("route", "code"),
            registry=self.registry,
        )
        self._duration = self._histogram(
            "xpro_request_seconds",
            "From the end of a request, with its body, to the end of its answer, of those answered",
            ("route",),
        )
        self._upload = self._histogram(
            "xpro_upload_seconds",
            "From the head of a request to the end of its body, of those answered",
            ("route",),
        )
        self.queue_wait = self._histogram(
            "xpro_queue_wait_seconds", "In the waiting line, from a body's end to its decoding"
        )
        self.decode = self._histogram(
            "xpro_decode_seconds", "Decoding of one file, with its wait for a worker process"
        )
        self.inference = self._histogram(
            "xpro_inference_seconds", "Inference of one image, with its wait for a stream"
        )
        self._decode_failures = Counter(
            "xpro_decode_failures",
            "Files that gave no radiograph, by the code of their problem document",
            ("reason",),
            registry=self.registry,
        )
        self.reloads = Counter(
            "xpro_model_reloads",
            "New versions of the model that were taken up or refused",
            ("outcome",),
            registry=self.registry,
        )
        for outcome in ("taken", "refused"):
            self.reloads.labels(outcome)
        self.probabilities = ProbabilityCollector()
        self.registry.register(self.probabilities)

    def expect_failures(self, routes: Iterable[str]) -> None:
        """Begin each route's count of failures at 0; else `rate` misses the first."""
        for route in routes:
            self._requests.labels(route, "internal_error")

    def count_request(
        self, route: str | None, status: int, code: str | None, upload_s: float, took_s: float
    ) -> None:
        """Count a request; `route` is None where no route of the application matched.

        `upload_s`: from its head to the end of its body, 0 without; `took_s`: from there on.
        """
        answered = code is None and 0 < status < 400
        outcome = "ok" if answered else code or f"http_{status}"
        self._requests.labels(route or "none", outcome).inc()
        if answered:
            self._duration.labels(route or "none").observe(took_s)
            if upload_s:
                self._upload.labels(route or "none").observe(upload_s)

    def count_decode_failure(self, code: str) -> None:
        """Count a file that could not be decoded, by the code of its InputError."""
        self._decode_failures.labels(code).inc()

    def _histogram(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)


class ProbabilityCollector(Collector):
    """A histogram for each finding; all 14 are counted at once, in the event loop's time."""

    def __init__(self) -> None:
        self._counts = np.zeros((len(FINDINGS), len(_PROBABILITIES) + 1), np.int64)
        self._sums = np.zeros(len(FINDINGS))

    def observe(self, probabilities: NDArray[np.float32]) -> None:
        """Note an answer, float32[14]."""
        bins = np.searchsorted(_PROBABILITIES, probabilities)  # the first bound not below it
        self._counts[np.arange(len(FINDINGS)), bins] += 1
        self._sums += probabilities

    def collect(self) -> Iterator[Metric]:
        """Give the counts up to each bound."""
        family = HistogramMetricFamily(
            "xpro_probability",
            "Probabilities that /predict answered, for watching drift",
            labels=["finding"],
        )
        bounds = [*map(str, _PROBABILITIES.tolist()), "+Inf"]
        below = self._counts.cumsum(axis=1).tolist()
        for finding, counts, total in zip(FINDINGS, below, self._sums.tolist(), strict=True):
            family.add_metric([finding], list(zip(bounds, counts, strict=True)), total)
        yield family


class StateCollector(Collector):
    """What the running service holds at the moment of asking."""

    def __init__(self, state: State, keys: KeyFile | None) -> None:
        self._state = state
        self._keys = keys

    def collect(self) -> Iterator[Metric]:
        """Read the state."""
        state = self._state
        for name, text, value in (
            ("line_requests", "Requests waiting or worked on", state.line.inside),
            ("line_places", "Requests that may wait or be worked on", state.line.places),
            ("line_service_seconds", "Running mean of one request's turn", state.line.service_s),
            (
                "uploads_held_bytes",
                "Bytes of bodies and images in memory",
                state.uploads.held_bytes,
            ),
            ("decode_workers_ready", "1 while every worker process runs", state.decoder.alive()),
            ("draining", "1 from SIGTERM on", state.draining),
            ("model_refused", "1 while a newer version is refused", state.refused is not None),
            (
                "keys_refused",
                "1 while the key file is damaged and the keys before it are in force",
                self._keys is not None and self._keys.refused(),
            ),
        ):
            yield GaugeMetricFamily(f"xpro_{name}", text, value)
        yield CounterMetricFamily(
            "xpro_decode_worker_restarts",
            "Worker processes that died, were killed or had refused 1,000 files, and were replaced",
            state.decoder.restarts,
        )
        facts = {**state.model.identity(), "engine": state.model.engine.name}
        yield InfoMetricFamily("xpro_model", "The model that answers", facts)
