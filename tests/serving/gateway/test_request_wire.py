"""Requests read on the wire say what the protobuf library reads in them, and get a version as they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import messages
from serving.gateway import request_wire
from serving.gateway.request_wire import METHODS, Asked, read, version_of, with_version
from serving.model_server.hooks import Entrypoint, ModelSpecQuery

REQUESTS: dict[Entrypoint, Any] = {entrypoint: method.request for entrypoint, method in METHODS.values()}
EXAMPLES = ("Classify", "Regress", "MultiInference")
NUMBERS = st.integers(0, 2**63 - 1)
NAMES = st.text(max_size=5)


@st.composite
def specs(draw: st.DrawFn) -> Any:
    spec = messages.ModelSpec(name=draw(NAMES), signature_name=draw(NAMES))
    choice = draw(st.sampled_from(["", "version", "label"]))
    if choice == "version":
        spec.version.value = draw(NUMBERS)
    elif choice:
        spec.version_label = draw(NAMES)
    return spec


@st.composite
def requests(draw: st.DrawFn, entrypoint: Entrypoint) -> Any:
    request = REQUESTS[entrypoint]()
    if entrypoint == "MultiInference":
        for spec in draw(st.lists(specs(), max_size=3)):
            request.tasks.add(method_name="m").model_spec.CopyFrom(spec)
    else:
        request.model_spec.CopyFrom(draw(specs()))
    if entrypoint == "Predict":
        request.output_filter.extend(draw(st.lists(NAMES, max_size=2)))
        for name in draw(st.lists(NAMES, max_size=3)):
            tensor = request.inputs[name]
            tensor.float_val.extend(draw(st.lists(st.floats(width=32), max_size=3)))
            tensor.string_val.extend(draw(st.lists(st.binary(max_size=3), max_size=3)))
            for size in draw(st.lists(st.integers(-1, 1000), max_size=3)):
                tensor.tensor_shape.dim.add(size=size, name=draw(NAMES))
        return request
    kind = draw(st.sampled_from(["", "example_list", "example_list_with_context"]))
    for n in range(draw(st.integers(0, 4)) if kind else 0):
        getattr(request.input, kind).examples.add().features.feature["x"].int64_list.value.append(n)
    return request


def asked(entrypoint: Entrypoint, request: Any) -> Asked:
    """Returns what is asked for, read by the protobuf library."""
    if entrypoint == "Predict":
        shapes = [tensor.tensor_shape.dim for tensor in request.inputs.values()]
        rows = max([0, *(dim[0].size for dim in shapes if dim)])
    else:
        kind = request.input.WhichOneof("kind")
        rows = len(getattr(request.input, kind).examples) if kind else 0
    spec = (
        request.model_spec
        if entrypoint != "MultiInference"
        else (*request.tasks, messages.InferenceTask())[0].model_spec
    )
    choice = spec.WhichOneof("version_choice")
    query = ModelSpecQuery(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )
    return Asked(query if spec.name else None, spec.signature_name, rows)


@pytest.mark.parametrize("entrypoint", REQUESTS)
@given(st.data())
def test_what_is_read(entrypoint: Entrypoint, data: st.DataObject) -> None:
    request = data.draw(requests(entrypoint))
    assert read(entrypoint, request.SerializeToString()) == asked(entrypoint, request)


@pytest.mark.parametrize("entrypoint", REQUESTS)
@given(st.data())
def test_parts_that_come_apart(entrypoint: Entrypoint, data: st.DataObject) -> None:
    """Two messages behind each other are one, of which the later part counts."""
    if entrypoint == "MultiInference":
        return
    parts = [data.draw(requests(entrypoint)) for _ in range(2)]
    for part in parts:
        part.ClearField("inputs" if entrypoint == "Predict" else "input")
    raw = b"".join(part.SerializeToString() for part in parts)
    assert read(entrypoint, raw) == asked(entrypoint, REQUESTS[entrypoint].FromString(raw))


@pytest.mark.parametrize("entrypoint", REQUESTS)
@given(st.data(), NUMBERS)
def test_a_version_is_all_that_changes(entrypoint: Entrypoint, data: st.DataObject, version: int) -> None:
    request = data.draw(requests(entrypoint))
    changed = REQUESTS[entrypoint].FromString(with_version(entrypoint, request.SerializeToString(), version))
    for spec in [t.model_spec for t in request.tasks] if entrypoint == "MultiInference" else [request.model_spec]:
        spec.version.value = version
    # NaN is not itself.
    assert changed.SerializeToString(deterministic=True) == request.SerializeToString(deterministic=True)


@pytest.mark.parametrize("entrypoint", REQUESTS)
def test_many_fields_are_read_as_well(entrypoint: Entrypoint, monkeypatch: pytest.MonkeyPatch) -> None:
    request = REQUESTS[entrypoint]()
    spec = request.tasks.add().model_spec if entrypoint == "MultiInference" else request.model_spec
    spec.name, spec.signature_name, spec.version.value = "toy", "s", 3
    if entrypoint == "Predict":
        request.inputs["x"].string_val.extend([b"a"] * 50)
        request.inputs["x"].tensor_shape.dim.add(size=50)
    else:
        for _ in range(50):
            request.input.example_list.examples.add()
    monkeypatch.setattr(request_wire, "_MAX_FIELDS", 20)
    assert read(entrypoint, request.SerializeToString()) == Asked(ModelSpecQuery("toy", 3), "s", 50)


@pytest.mark.parametrize("entrypoint", REQUESTS)
@given(st.binary(max_size=40))
def test_what_is_no_request(entrypoint: Entrypoint, raw: bytes) -> None:
    """Whatever comes, it is read or refused, and nothing else."""
    try:
        found = read(entrypoint, raw)
    except ValueError:
        return
    assert found.rows <= max(len(raw), 2**63)


@given(NUMBERS)
def test_the_version_of_an_answer(version: int) -> None:
    for entrypoint, method in METHODS.values():
        answer = method.response()
        assert version_of(entrypoint, answer.SerializeToString()) is None
        spec = answer.results.add().model_spec if entrypoint == "MultiInference" else answer.model_spec
        spec.name = "toy"
        assert version_of(entrypoint, answer.SerializeToString()) is None
        spec.version.value = version
        assert version_of(entrypoint, answer.SerializeToString()) == version or version == 0


def test_the_version_of_what_is_no_answer() -> None:
    assert version_of("Predict", b"\xff") is None and version_of("MultiInference", b"\x0a\x05") is None
