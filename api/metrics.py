"""Prometheus metrics. Labels are routes, states and stages: never SQL, names of people's tables, or tenants."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rewriter.errors import StoreError
from rewriter.store import Store

ALIVE = 30.0  # seconds since a worker's last sign of life


class Metrics:
    """Of one application; a registry of its own, so that several may live in one process."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rewriter_http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "rewriter_http_request_seconds",
            "Seconds from a request to the start of its answer",
            ["route"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.lookups = Counter("rewriter_lookups", "Lookups answered", ["outcome"], registry=self.registry)
        self.feedback = Counter("rewriter_client_events", "Events that clients told", ["kind"], registry=self.registry)
        self.registry.register(_Jobs(store))

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Jobs(Collector):
    """Reads the numbers of jobs and workers when it is asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> list[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("rewriter_jobs", "Jobs by kind and state", labels=["kind", "state"])
        workers = GaugeMetricFamily("rewriter_workers", "Workers that gave a sign of life lately")
        try:
            for kind, state, number in self._store.queue().numbers():
                jobs.add_metric([kind, state], number)
            workers.add_metric([], len(self._store.queue().workers(ALIVE)))
        except StoreError:
            return []
        return [jobs, workers]
