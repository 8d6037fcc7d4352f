"""Captured requests asked again: of a model that answers as it did, another one, and none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from schema.errors import ReleaseError
from schema.serving import CaptureConfig
from serving import messages
from serving.capture.hook import CaptureHook
from serving.capture.reader import Captured, CaptureLog
from serving.capture.record import ShadowExchange
from serving.model_server.errors import Code, ServingError
from serving.model_server.hooks import Exchange
from serving.model_server.tensor_codec import to_array
from serving.replay.replay import Redacted, Replayed, replay
from tests.serving.capture.exchanges import example, exchange, predict_request, predict_response, strings


class Doubles:
    """Answers twice the fare, plus what it is told to."""

    def __init__(self, plus: float = 0.0, inputs: tuple[str, ...] = ("fare", "company")) -> None:
        self.inputs = inputs
        self.closed = False
        self._plus = plus

    def answer(self, entrypoint: str, request: Any, request_id: str) -> bytes:
        assert request.model_spec.name == "taxi" and request.model_spec.version.value in (7, 8)
        if entrypoint == "Classify":
            response = messages.ClassificationResponse()
            for one in request.input.example_list.examples:
                score = one.features.feature["fare"].float_list.value[0] + self._plus
                response.result.classifications.add().classes.add(label="yes", score=score)
            return bytes(response.SerializeToString())
        if "fare" not in request.inputs:
            raise ServingError(Code.INVALID_ARGUMENT, "no fare")
        return predict_response(twice=to_array(request.inputs["fare"]) * 2 + np.float32(self._plus))

    def close(self) -> None:
        self.closed = True


def asked(number: int, **changes: Any) -> Exchange:
    fare = np.array([number, number + 1], np.float32)
    inputs = changes.pop("inputs", {"fare": fare, "company": strings("Blue", "Red")})
    return exchange(
        number,
        request=predict_request(**inputs),
        **{"response": predict_response(twice=fare * 2), **changes},
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Replayed]:
    def make(*exchanges: Exchange, capture: dict[str, Any] | None = None, plus: float = 0.0, **how: Any) -> Replayed:
        with CaptureHook(tmp_path, "taxi", CaptureConfig(**(capture or {}))) as hook:
            for item in exchanges:
                hook.done(item)
        records: list[Captured] = CaptureLog(tmp_path).newest()
        opened: list[Doubles] = []

        def open_version(version: int) -> Doubles:
            if version not in (7, 8):
                raise ReleaseError(f"the folder of version {version} is gone")
            opened.append(Doubles(plus + version - 7))
            return opened[-1]

        result = replay(records, open_version, model="taxi", **how)
        assert all(one.closed for one in opened)
        return result

    return make


def test_all_equal(run: Any) -> None:
    result = run(*[asked(number) for number in range(5)])
    assert (result.equal, result.rows, result.different, result.skipped) == (5, 10, [], {})


def test_another_model_and_another_version(run: Any) -> None:
    result = run(asked(1), asked(2), plus=0.5)
    assert result.equal == 0 and len(result.different) == 2
    assert result.outputs == {
        "twice": {"requests": 2, "rows": 4, "max_abs": 0.5, "only_rounding": False, "kinds": ["values"]}
    }
    assert result.different[0]["why"] == ["twice: differs by up to 0.5 in 2 rows"]
    other = run(version=8)
    assert other.different[0]["why"][0] == "version 7 answered then, version 8 now"
    assert other.outputs["twice"]["max_abs"] == 1.0


def test_rounding_is_called_so(run: Any) -> None:
    fare = np.array([3, 4], np.float32)
    result = run(asked(3, response=predict_response(twice=np.nextafter(fare * 2, np.float32(9)))))
    assert result.outputs["twice"]["only_rounding"] and "order of a sum" in result.different[0]["why"][0]


def test_errors_then_and_now(run: Any) -> None:
    refused = {"response": b"", "code": Code.INVALID_ARGUMENT, "message": "no fare"}
    nothing = {"company": strings("Blue")}
    result = run(
        asked(1, inputs=nothing, **refused),
        asked(2, **{**refused, "code": Code.RESOURCE_EXHAUSTED}),
        asked(3, inputs=nothing),
    )
    assert result.equal == 1
    assert [one["why"] for one in result.different] == [
        ["the error RESOURCE_EXHAUSTED (no fare) then, an answer now"],
        ["an answer then, the error INVALID_ARGUMENT (no fare) now"],
    ]


def test_classify(run: Any) -> None:
    request = messages.ClassificationRequest()
    request.model_spec.name = "taxi"
    request.input.example_list.examples.append(example(fare=[0.5]))
    response = messages.ClassificationResponse()
    response.result.classifications.add().classes.add(label="no", score=0.5)
    base = exchange(1, entrypoint="Classify", request=bytes(request.SerializeToString()))
    result = run(dataclasses.replace(base, response=bytes(response.SerializeToString())))
    assert result.different[0]["why"] == ["classes: other labels: the label vocabulary changed"]


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        ({"leave_out": ["company"]}, "redacted: company"),
        ({"hash": ["company"], "hash_key": "k"}, "redacted: company"),
        ({"leave_out": ["tips"]}, None),
    ],
)
def test_redacted_requests_are_counted_not_failed(run: Any, capture: dict[str, Any], reason: str | None) -> None:
    failed = asked(2, response=b"", code=Code.INVALID_ARGUMENT, message="x")
    hidden = Redacted(capture.get("leave_out", ()), capture.get("hash", ()))
    result = run(asked(1), failed, capture=capture, redacted={7: hidden})
    kept_nothing = "redacted: capture keeps nothing of a failed request"
    if reason is None:
        assert result.equal == 1 and result.skipped == {kept_nothing: ["id-000002"]}
    else:
        assert result.skipped == {reason: ["id-000001"], kept_nothing: ["id-000002"]}
    assert result.different == []


def test_captured_before_the_redaction_began(run: Any) -> None:
    result = run(asked(1), redacted={7: Redacted(["company"], ["fare"])})
    assert (result.equal, result.skipped) == (1, {})


def test_redacted_examples(run: Any) -> None:
    serialized = example(fare=[1.0], company=["Blue"]).SerializeToString()
    request = predict_request(examples=strings(serialized))
    asked_so = exchange(1, request=request, response=predict_response(twice=np.zeros(1, np.float32)))
    hidden = Redacted([], ["company"])
    result = run(asked_so, capture={"hash": ["company"], "hash_key": "k"}, redacted={7: hidden})
    assert result.skipped == {"redacted: company": ["id-000001"]}


def test_what_cannot_be_asked(run: Any) -> None:
    values = {field.name: getattr(asked(4), field.name) for field in dataclasses.fields(Exchange)}
    result = run(
        asked(1, version=3),
        asked(2, version=None, response=b"", code=Code.NOT_FOUND, message="no model"),
        exchange(3, api="REST", request=b"{", response=b'{"error": "x"}'),
        ShadowExchange(**{**values, "version": 8}, of_version=7),
    )
    assert result.equal == 0 and result.different == []
    assert {reason.split(" (")[0]: ids for reason, ids in result.skipped.items()} == {
        "the folder of version 3 is gone": ["id-000001"],
        "no version answered it": ["id-000002"],
        "its REST body could not be made a message when it was captured": ["id-000003"],
    }
