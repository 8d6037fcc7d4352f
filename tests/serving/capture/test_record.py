"""Records: PredictionLogs with what we know besides, whatever the exchange."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from serving import messages
from serving.capture.hook import is_sampled
from serving.capture.log_format import Record
from serving.capture.record import RecordMaker, ShadowExchange
from serving.capture.redaction import Redaction
from serving.capture.rest_messages import RestMessages
from serving.capture.tfrecord import frame
from serving.model_server.errors import Code
from tests.serving.capture.exchanges import (
    DATE,
    NOON,
    example,
    exchange,
    parsed,
    predict_request,
    predict_response,
    rest_exchange,
    strings,
)


class Maker:
    """Makes records and counts the incomplete ones."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        self.incomplete = 0
        self._maker = RecordMaker("taxi-line", 0.5, redaction, RestMessages(None), self._count)

    def _count(self) -> None:
        self.incomplete += 1

    def __call__(self, exchange: Any) -> tuple[str, Any, Any]:
        folder, framed = self._maker.make(exchange)
        record = framed[12:-4]
        assert framed == frame(record)
        return folder, *parsed(record)


def test_everything_known_of_an_exchange_is_in_its_record() -> None:
    given = exchange(3, caller_key="trip-9")
    folder, record, log = Maker()(given)
    assert folder == f"{DATE}/version=7"
    assert log.predict_log.request.SerializeToString(deterministic=True) == given.request
    assert log.predict_log.response == messages.PredictResponse.FromString(given.response)
    metadata = record.log_metadata
    assert (metadata.model_spec.name, metadata.model_spec.version.value) == ("taxi", 7)
    assert metadata.model_spec.signature_name == "serving_raw"
    assert metadata.sampling_config.sampling_rate == 0.5
    assert list(metadata.saved_model_tags) == ["serve"]
    assert metadata.timestamp_secs == int(NOON)
    capture = metadata.capture
    assert (capture.request_id, capture.line, capture.caller_key) == ("id-000003", "taxi-line", "trip-9")
    assert (capture.started, capture.seconds, capture.api) == (NOON + 0.003, 0.002, "gRPC")
    assert (capture.code, capture.message) == (0, "")
    assert not capture.HasField("shadow")


def test_the_message_classes_of_tensorflow_serving_read_it() -> None:
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    _, record, log = Maker()(exchange())
    theirs = prediction_log_pb2.PredictionLog.FromString(record.SerializeToString())
    assert theirs.predict_log.request.inputs["fare"].float_val == [0.0]
    assert theirs.predict_log.response.model_spec.version.value == 7
    assert theirs.log_metadata.model_spec.name == "taxi"
    assert theirs.log_metadata.timestamp_secs == int(NOON)
    # What they do not know goes through them untouched.
    assert Record.FromString(theirs.SerializeToString()).log_metadata == record.log_metadata


@pytest.mark.parametrize(
    ("entrypoint", "kind"),
    [("Classify", "classify_log"), ("Regress", "regress_log"), ("MultiInference", "multi_inference_log")],
)
def test_each_method_has_its_log(entrypoint: str, kind: str) -> None:
    names = {"Classify": "Classification", "Regress": "Regression"}
    name = names.get(entrypoint, entrypoint)
    request = messages.message_class(f"tensorflow.serving.{name}Request")()
    request.input.example_list.examples.append(example(fare=[1.5]))
    response = messages.message_class(f"tensorflow.serving.{name}Response")()
    given = exchange(entrypoint=entrypoint, request=request.SerializeToString(), response=response.SerializeToString())
    _, _, log = Maker()(given)
    assert log.WhichOneof("log_type") == kind
    assert getattr(log, kind).request == request


def test_a_failed_request_is_kept_with_its_code_and_message() -> None:
    given = exchange(version=None, response=b"", code=Code.NOT_FOUND, message="Servable not found")
    folder, record, log = Maker()(given)
    assert folder == f"{DATE}/version=none"
    assert log.predict_log.request == messages.PredictRequest.FromString(given.request)
    assert not log.predict_log.HasField("response")
    assert not record.log_metadata.model_spec.HasField("version")
    assert (record.log_metadata.capture.code, record.log_metadata.capture.message) == (5, "Servable not found")


@pytest.mark.parametrize("code", [Code.OK, Code.INTERNAL])
@pytest.mark.parametrize("tail", [b"\xff", b"\0\0", b"\x0c", b"\x0a\x05"])
@pytest.mark.parametrize("where", ["request", "response"])
def test_what_is_no_message_does_not_spoil_its_record(code: Code, tail: bytes, where: str) -> None:
    maker = Maker()
    given = exchange(code=code, message="m")
    given = dataclasses.replace(given, **{where: getattr(given, where) + tail})
    _, record, log = maker(given)
    assert log.predict_log.request.model_spec.name == "taxi"
    assert not log.predict_log.request.inputs
    assert record.log_metadata.capture.request_body == given.request
    assert record.log_metadata.capture.response_body == given.response
    assert maker.incomplete == 1


def test_a_failed_request_is_looked_into() -> None:
    maker = Maker()
    inner = messages.TensorProto(string_val=[b"x"]).SerializeToString()[:-1]
    given = exchange(request=b"\x12" + bytes([len(inner) + 2]) + b"\x12" + bytes([len(inner)]) + inner, response=b"")
    _, record, _ = maker(dataclasses.replace(given, code=Code.INTERNAL))
    assert record.log_metadata.capture.request_body == given.request
    assert maker.incomplete == 1


def test_a_rest_body_without_known_signatures_is_kept_as_it_is() -> None:
    maker = Maker()
    given = rest_exchange({"instances": [1.0]}, {"predictions": [2.0]})
    _, record, log = maker(given)
    assert log.predict_log.request.model_spec.signature_name == "serving_raw"
    assert not log.predict_log.request.inputs
    capture = record.log_metadata.capture
    assert (capture.request_body, capture.response_body) == (given.request, given.response)
    assert capture.api == "REST"
    assert maker.incomplete == 1


def test_texts_that_are_no_unicode_do_not_stop_a_record() -> None:
    _, record, _ = Maker()(exchange(request_id="a\udc80b", caller_key="\udcff", model="m\udc80", signature="s\udc80"))
    assert record.log_metadata.capture.request_id == "a?b"
    assert record.log_metadata.model_spec.name == "m?"


def test_an_answer_of_a_shadow_is_marked_and_kept_apart() -> None:
    base = {name: getattr(exchange(), name) for name in exchange().__dataclass_fields__}
    folder, record, _ = Maker()(ShadowExchange(**base, of_version=6, max_abs_difference=0.25))
    assert folder == f"{DATE}/shadow-version=7"
    shadow = record.log_metadata.capture.shadow
    assert (shadow.of_version, shadow.max_abs_difference) == (6, 0.25)
    assert not shadow.HasField("class_agreement")
    _, record, _ = Maker()(ShadowExchange(**base))
    assert record.log_metadata.capture.HasField("shadow")


def test_dates_are_utc() -> None:
    folders = [Maker()(exchange(started=seconds))[0] for seconds in (86400 * 365 - 0.001, 86400.0 * 365)]
    assert folders == ["1970-12-31/version=7", "1971-01-01/version=7"]


SECRET = Redaction(["phone"], ["name"], "key")
CELLS = {"phone": strings("0123-SECRET"), "name": strings("Ada SECRET"), "fare": np.array([1.5], np.float32)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"code": Code.INVALID_ARGUMENT, "message": "could not read SECRET", "response": b""},
        {"request": b"\xff SECRET", "code": Code.INTERNAL, "message": "SECRET"},
        {"request": b"\xff SECRET"},
        {"response": b"\xff SECRET"},
        {"api": "REST", "request": b'{"instances": [{"name": "Ada SECRET"}]}', "response": b'{"predictions": [1]}'},
        {"api": "REST", "request": b'{"SECRET', "code": Code.INVALID_ARGUMENT, "message": "JSON Parse error: SECRET"},
        {"request": predict_request(NAME=strings("SECRET")), "code": Code.INVALID_ARGUMENT, "message": "NAME"},
    ],
)
def test_with_columns_to_leave_out_no_way_leads_a_value_into_a_record(changes: dict[str, Any]) -> None:
    given = exchange(
        **{
            "request": predict_request(**CELLS),
            "response": predict_response(name=strings("Ada SECRET"), phone_hash=strings("SECRET")),
            **changes,
        }
    )
    _, record, log = Maker(SECRET)(given)
    assert b"SECRET" not in record.SerializeToString()
    assert log.predict_log.request.model_spec.name == "taxi"
    assert record.log_metadata.capture.request_id == given.request_id
    assert record.log_metadata.capture.code == int(given.code)


def test_sampling_is_by_request_id_and_keeps_about_the_share() -> None:
    ids = [f"{number:032x}" for number in range(20_000)]
    tenth = [i for i in ids if is_sampled(i, 0.1)]
    assert 1_800 < len(tenth) < 2_200
    assert set(tenth) <= {i for i in ids if is_sampled(i, 0.2)}
    assert all(is_sampled(i, 1.0) for i in ids[:100])
    # Another process must choose the same ones, today and in a year.
    assert [i for i in ("a", "b", "c", "d", "e", "f") if is_sampled(i, 0.5)] == ["a", "c", "e", "f"]
