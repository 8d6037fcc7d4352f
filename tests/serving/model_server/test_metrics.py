"""The metrics page, as Prometheus reads it."""

from __future__ import annotations

import threading

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from serving.model_server.metrics import Metrics

COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page = metrics.page().decode()
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            # The parser ends every counter in `_total`.
            name = COUNT if sample.name == f"{COUNT}_total" else sample.name
            found[name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_requests_are_counted_by_model_and_status() -> None:
    metrics = Metrics()
    metrics.request("m", "Predict", "GRPC", "OK", 0.1)
    metrics.request("m", "predict", "REST", "OK", 0.1)
    metrics.request("m", "predict", "REST", "NOT_FOUND", 0.1)
    metrics.request("", "", "REST", "INVALID_ARGUMENT", 0.1)
    found = samples(metrics)
    assert found[COUNT, (("model_name", "m"), ("status", "OK"))] == 2
    assert found[COUNT, (("model_name", "m"), ("status", "NOT_FOUND"))] == 1
    assert found[COUNT, (("model_name", ""), ("status", "INVALID_ARGUMENT"))] == 1
    assert metrics.page().startswith(
        b"# TYPE :tensorflow:serving:request_count counter\n"
        b':tensorflow:serving:request_count{model_name="",status="INVALID_ARGUMENT"} 1\n'
        b':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1\n'
    )


def test_latency_is_in_microseconds_and_of_requests_that_succeeded() -> None:
    metrics = Metrics()
    metrics.request("m", "Predict", "GRPC", "OK", 12e-6)
    metrics.request("m", "Predict", "GRPC", "OK", 18e-6)
    metrics.request("m", "Predict", "GRPC", "OK", 1e6)
    metrics.request("m", "Predict", "GRPC", "INTERNAL", 1.0)
    found = samples(metrics)
    labels = (("API", "Predict"), ("entrypoint", "GRPC"), ("model_name", "m"))

    def bucket(limit: str) -> float:
        return found[LATENCY + "_bucket", tuple(sorted((*labels, ("le", limit))))]

    # What is on a limit is above it, as in TensorFlow.
    assert [bucket(limit) for limit in ("10", "18", "32.4", "58.32", "1.47476e+09", "+Inf")] == [0, 1, 2, 2, 2, 3]
    assert b'API="Predict",entrypoint="GRPC",le="10"} 0\n' in metrics.page()
    assert found[LATENCY + "_count", labels] == 3
    assert found[LATENCY + "_sum", labels] == 12 + 18 + 10**12
    assert sum(name == LATENCY + "_bucket" for name, _ in found) == 34


def test_the_time_in_tensorflow_stands_by_itself() -> None:
    metrics = Metrics()
    metrics.runtime("m", "Predict", 20e-6)
    labels = (("API", "Predict"), ("model_name", "m"), ("runtime", "TF1"))
    assert samples(metrics)[RUNTIME + "_count", labels] == 1
    assert samples(metrics)[RUNTIME + "_sum", labels] == 20


def test_the_types_are_named_even_of_what_has_not_happened() -> None:
    page = Metrics().page().decode()
    assert [line for line in page.splitlines() if line.startswith("# TYPE")] == [
        f"# TYPE {COUNT} counter",
        f"# TYPE {LATENCY} histogram",
        f"# TYPE {RUNTIME} histogram",
    ]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", 'x"} 1\n', "ä"])
def test_a_name_cannot_break_out_of_its_label(name: str) -> None:
    metrics = Metrics()
    metrics.request(name, "predict", "REST", "NOT_FOUND", 0.1)
    assert samples(metrics) == {(COUNT, (("model_name", name), ("status", "NOT_FOUND"))): 1}


def test_ever_new_names_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    for index in range(5000):
        metrics.request(f"m{index}", "predict", "REST", "NOT_FOUND", 0.1)
    metrics.request("n" * 100_000, "predict", "REST", "NOT_FOUND", 0.1)
    found = samples(metrics)
    assert len(found) <= 1001
    assert sum(found.values()) == 5001
    assert len(metrics.page()) < 200_000


def test_metrics_of_others_are_on_the_page() -> None:
    metrics = Metrics()
    Counter("conveyor_dropped_records", "Dropped.", registry=metrics.registry).inc(3)
    assert samples(metrics)["conveyor_dropped_records_total", ()] == 3


def test_the_value_of_a_metric_by_its_name_in_tensorflow() -> None:
    metrics = Metrics()
    assert metrics.value("/tensorflow/serving/request_count") == 0
    metrics.request("m", "Predict", "GRPC", "OK", 0.1)
    metrics.request("m", "Predict", "GRPC", "OK", 0.1)
    assert metrics.value("/tensorflow/serving/request_count") == 2
    assert metrics.value("/no/such/metric") == 0


def test_no_request_is_lost_between_threads() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(500):
            metrics.request("m", "Predict", "GRPC", "OK", 1e-5)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.value("/tensorflow/serving/request_count") == 4000
