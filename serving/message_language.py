"""Reads the subset of protobuf's language that `serving.message_definitions` is written in."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, wrappers_pb2

_TOKEN = re.compile(r'"[^"]*"|[\w.]+|[{}=;<>,\[\]]')
_SCALARS = ("double", "float", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes")
_OPTIONAL = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
_REPEATED = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_WELL_KNOWN = {"any": any_pb2, "wrappers": wrappers_pb2}


def well_known_files() -> list[bytes]:
    """Returns the files with the well-known types, as serialized FileDescriptorProtos."""
    return [module.DESCRIPTOR.serialized_pb for module in _WELL_KNOWN.values()]


def parse(text: str) -> Any:
    """Reads one file.

    Args:
        text: `package`, `import`s, then messages and enums.

    Returns:
        The FileDescriptorProto. Its name is `conveyor/<package>.proto`.

    Raises:
        ValueError: something other than that subset.
    """
    return _Parser(text).file()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.at = 0

    def next(self) -> str:
        self.at += 1
        return str(self.tokens[self.at - 1])

    def expect(self, *tokens: str) -> None:
        for token in tokens:
            if (got := self.next()) != token:
                raise ValueError(f"{token!r} must stand after {self.tokens[self.at - 6 : self.at - 1]}. Got {got!r}")

    def file(self) -> Any:
        file = descriptor_pb2.FileDescriptorProto(syntax="proto3")
        while self.at < len(self.tokens):
            word = self.next()
            if word == "package":
                file.package = self.next()
                file.name = f"conveyor/{file.package}.proto"
                self.expect(";")
            elif word == "import":
                name = self.next()
                known = _WELL_KNOWN.get(name)
                file.dependency.append(known.DESCRIPTOR.name if known else f"conveyor/{name}.proto")
                self.expect(";")
            elif word == "message":
                self.message(file.message_type.add())
            elif word == "enum":
                self.enum(file.enum_type.add())
            else:
                raise ValueError(f"'message' or 'enum' must stand at the top of a file. Got {word!r}")
        return file

    def enum(self, enum: Any) -> None:
        enum.name = self.next()
        self.expect("{")
        while (word := self.next()) != "}":
            self.expect("=")
            enum.value.add(name=word, number=int(self.next()))
            self.expect(";")

    def message(self, message: Any) -> None:
        message.name = self.next()
        self.expect("{")
        while (word := self.next()) != "}":
            if word == "message":
                self.message(message.nested_type.add())
            elif word == "enum":
                self.enum(message.enum_type.add())
            elif word == "oneof":
                oneof = len(message.oneof_decl)
                message.oneof_decl.add(name=self.next())
                self.expect("{")
                while (inner := self.next()) != "}":
                    self.field(message, inner).oneof_index = oneof
            else:
                self.field(message, word)
        # Protobuf wants the oneofs that stand for `optional` after all others.
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def field(self, message: Any, word: str) -> Any:
        field = message.field.add(label=_OPTIONAL)
        if word in ("repeated", "map"):
            field.label = _REPEATED
        if word == "map":
            self.expect("<")
            kinds = [self.next()]
            self.expect(",")
            kinds.append(self.next())
            self.expect(">")
            field.name = self.next()
            entry = message.nested_type.add(name=field.name.title().replace("_", "") + "Entry")
            entry.options.map_entry = True
            for number, (name, kind) in enumerate(zip(("key", "value"), kinds, strict=True), start=1):
                part = entry.field.add(name=name, number=number, label=_OPTIONAL)
                _set_kind(part, kind)
            field.type_name = entry.name
        else:
            field.proto3_optional = word == "optional"
            _set_kind(field, self.next() if word in ("repeated", "optional") else word)
            field.name = self.next()
        self.expect("=")
        field.number = int(self.next())
        if (end := self.next()) == "[":
            self.expect("json_name", "=")
            field.json_name = self.next().strip('"')
            self.expect("]", ";")
        elif end != ";":
            raise ValueError(f"';' must stand after the field {field.name}. Got {end!r}")
        return field


def _set_kind(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind.upper()}")
    else:
        field.type_name = kind
