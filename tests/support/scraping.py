"""Reading figures as Prometheus does."""

import json
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["get", "scraped", "verdict"]


def get(port: int, path: str, accept: str = "") -> tuple[int, str, str]:
    """Return status, content type and body of a page."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.headers["Content-Type"], response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Return each sample of /metrics: its name and the values of its labels, sorted by the labels' names."""
    status, _, body = get(port, "/metrics")
    assert status == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def verdict(port: int, path: str) -> tuple[int, list[str]]:
    """Return the status of /healthz or /readyz, and the problems that it names; 0 when nobody answers."""
    try:
        status, _, body = get(port, path)
    except urllib.error.URLError:
        return 0, []
    answer: dict[str, Any] = json.loads(body)
    return status, answer["problems"]
