"""Figures for Prometheus, in its text format 0.0.4; no label ever holds a person or a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from inference.api import Finished
from inference.serving.service import LocalInference

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class Histogram:
    """Durations in seconds, counted by upper bound."""

    counts: list[int] = field(default_factory=lambda: [0] * len(_BUCKETS_S))
    total: int = 0
    sum_s: float = 0.0

    def observe(self, value_s: float) -> None:
        self.total += 1
        self.sum_s += value_s
        for index, bound in enumerate(_BUCKETS_S):
            self.counts[index] += value_s <= bound

    def lines(self, name: str) -> Iterator[str]:
        for bound, count in zip(_BUCKETS_S, self.counts, strict=True):
            yield f'{name}_bucket{{le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self.total}'
        yield f"{name}_sum {self.sum_s:.6f}"
        yield f"{name}_count {self.total}"


@dataclass(slots=True)
class Metrics:
    """What has happened since the start."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By path and HTTP status; 499 stands for a client that went away."""
    answers: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    first_token: Histogram = field(default_factory=Histogram)
    queued: Histogram = field(default_factory=Histogram)

    def answered(self, finished: Finished) -> None:
        self.answers[finished.reason] += 1
        usage, timings = finished.usage, finished.timings
        self.tokens["prompt"] += usage.prompt_tokens
        self.tokens["cached"] += usage.cached_tokens
        self.tokens["thinking"] += usage.thinking_tokens
        self.tokens["answer"] += usage.completion_tokens
        self.queued.observe(timings.queued_s)
        if timings.time_to_first_token_s is not None:
            self.first_token.observe(timings.time_to_first_token_s)

    def text(self, inference: LocalInference) -> str:
        load = inference.load
        ready = inference.readiness.state == "ready"
        requests = {f'path="{path}",status="{status}"': n for (path, status), n in self.requests.items()}
        lines = [
            *_series("requests_total", "counter", "HTTP requests that were answered", requests),
            *_series("answers_total", "counter", "answers that ended", _labelled("reason", self.answers)),
            *_series("tokens_total", "counter", "tokens", _labelled("kind", self.tokens)),
            *_series("waiting", "gauge", "requests in the queue", _labelled("lane", load.waiting)),
            *_series("running", "gauge", "requests being worked on", _labelled("lane", load.running)),
            *_series("slots", "gauge", "requests that can be worked on at once", _labelled("lane", load.slots)),
            *_series("ready", "gauge", "1 when the model is loaded", {"": int(ready)}),
            "# HELP partyline_queued_seconds from arrival to the engine",
            "# TYPE partyline_queued_seconds histogram",
            *self.queued.lines("partyline_queued_seconds"),
            "# HELP partyline_time_to_first_token_seconds from arrival to the first token",
            "# TYPE partyline_time_to_first_token_seconds histogram",
            *self.first_token.lines("partyline_time_to_first_token_seconds"),
        ]
        return "\n".join(lines) + "\n"


def _series(name: str, kind: str, meaning: str, values: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP partyline_{name} {meaning}"
    yield f"# TYPE partyline_{name} {kind}"
    for labels, value in sorted(values.items()):
        yield f"partyline_{name}{{{labels}}} {value}" if labels else f"partyline_{name} {value}"


def _labelled(label: str, values: Mapping[str, int]) -> dict[str, float]:
    return {f'{label}="{name}"': value for name, value in values.items()}
