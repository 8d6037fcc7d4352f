"""What a served model says about itself: its signatures, and the tensors that go in and come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from data.columns import nearest
from schema.errors import UsageError
from serving.model_server import tensor_codec, tensor_types

RAW = "serving_raw"
"""The signature of Conveyor's models that takes raw columns."""
DEFAULT = "serving_default"

_MARKERS: dict[str, Any] = {"float32": np.float32("nan"), "int64": np.iinfo(np.int64).min, "string": b""}
"""What stands for a missing value in `serving_raw`, by dtype (components/trainer/export.py)."""


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One tensor of a signature.

    Attributes:
        name: its key in the signature.
        dtype: TensorFlow's name, e.g. `string`, `float32`, `int64`; `?` for one that cannot be sent.
        shape: sizes, None for one that is open; or None when the rank is open.
        default: the value of an input that a request may leave out, or None.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    default: np.ndarray | None = dataclasses.field(default=None, compare=False)

    @property
    def by_row(self) -> bool:
        """Whether the first dimension is that of the rows."""
        return self.shape is None or (len(self.shape) > 0 and self.shape[0] is None)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """The shape of one row's value; of an open rank, that of a single value."""
        return () if self.shape is None else self.shape[1:]

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of an array; `object` for strings."""
        kind = tensor_types.by_name(self.dtype)
        assert kind is not None, f"no array is made of {self.dtype}"
        return kind.dtype

    @property
    def missing(self) -> Any:
        """The value that stands for a missing one in a row, or None when a value must be given."""
        if self.default is None or self.default.size != 1:
            return None
        return self.default.reshape(-1)[0]


@dataclasses.dataclass(frozen=True)
class SignatureSpec:
    """What can be asked of a model under one name.

    Attributes:
        name: the key, e.g. `serving_raw`.
        method_name: e.g. `tensorflow/serving/predict`.
        inputs: input key to tensor, by key.
        outputs: output key to tensor, by key.
    """

    name: str
    method_name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @property
    def takes_examples(self) -> bool:
        """Whether rows go in as serialized tf.Examples. Nothing says so but the input's name."""
        if len(self.inputs) != 1 or self.name == RAW:
            return False
        (spec,) = self.inputs.values()
        names = ("examples", "inputs") if self.method_name.endswith(("/classify", "/regress")) else ("examples",)
        return spec.dtype == "string" and spec.shape in ((None,), None) and spec.name in names


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a server says about a model.

    Attributes:
        model: the model's name.
        version: the version that was asked, or None when the server does not tell.
        signatures: signature key to signature, by key.
    """

    model: str
    version: int | None
    signatures: Mapping[str, SignatureSpec]

    def signature(self, name: str | None) -> SignatureSpec:
        """Returns a signature: the one that is named, or else the best one for rows.

        That is `serving_raw`, or `serving_default`, or the only one.

        Raises:
            UsageError: there is none of that name, or none to choose by itself.
        """
        if name is None:
            for usual in (RAW, DEFAULT):
                if usual in self.signatures:
                    return self.signatures[usual]
            if len(self.signatures) == 1:
                return next(iter(self.signatures.values()))
            raise UsageError(
                f"a signature of the model {self.model!r} must be named. It has no {RAW} and no {DEFAULT}, but "
                f"{', '.join(self.signatures) or 'none at all'}"
            )
        if name not in self.signatures:
            raise UsageError(
                f"the signature must be one of the model {self.model!r}: {', '.join(self.signatures)}. "
                f"Got {name!r} instead. {nearest(name, self.signatures)}"
            )
        return self.signatures[name]


def read_signatures(map_message: Any) -> dict[str, SignatureSpec]:
    """Reads a `SignatureDefMap`; signatures that only initialize (`__saved_model_init_op`) are left out."""
    return {
        key: SignatureSpec(
            name=key,
            method_name=proto.method_name,
            inputs={name: _input(key, name, proto) for name in sorted(proto.inputs)},
            outputs={name: _tensor(name, proto.outputs[name]) for name in sorted(proto.outputs)},
        )
        for key, proto in sorted(map_message.signature_def.items())
        if not key.startswith("__")
    }


def _input(signature: str, name: str, proto: Any) -> TensorSpec:
    spec = _tensor(name, proto.inputs[name])
    if name in proto.defaults:
        return dataclasses.replace(spec, default=tensor_codec.to_array(proto.defaults[name]))
    if signature == RAW and spec.dtype in _MARKERS:
        # A server older than `SignatureDef.defaults` does not pass them on.
        return dataclasses.replace(spec, default=np.array([_MARKERS[spec.dtype]], spec.numpy_dtype))
    return spec


def _tensor(name: str, proto: Any) -> TensorSpec:
    kind = tensor_types.by_number(proto.dtype)
    shape = None
    if not proto.tensor_shape.unknown_rank:
        shape = tuple(None if d.size < 0 else int(d.size) for d in proto.tensor_shape.dim)
    return TensorSpec(name, "?" if kind is None else kind.name, shape)
