"""Numbers for Prometheus: requests, waiting times, sessions, memory. No label ever holds a user, a study or a name."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One server process's numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "promptseg_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "promptseg_request_seconds",
            "Seconds to answer a request",
            ["method", "route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._gauges: dict[str, Gauge] = {}

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the template, never the path with its ids."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def gauge(self, name: str, text: str, value: float) -> None:
        """Set a number that stands for itself."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"promptseg_{name}", text, registry=self._registry)
        self._gauges[name].set(value)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self._registry))
