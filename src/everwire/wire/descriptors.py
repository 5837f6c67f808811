"""The messages as Protobuf has them: descriptors, for the library ``protobuf``, of the same definitions."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from everwire.wire.fields import Field, Kind, fields
from everwire.wire.messages import WireMessage

__all__ = ["PACKAGE", "file_descriptor", "message_classes", "reachable"]

PACKAGE = "centrifugal.centrifuge.protocol"
"""The package of the messages in Centrifugo's ``client.proto``."""

INTEGERS = {
    (0, 2**32 - 1): FieldDescriptorProto.TYPE_UINT32,
    (0, 2**63 - 1): FieldDescriptorProto.TYPE_UINT64,
    (-(2**31), 2**31 - 1): FieldDescriptorProto.TYPE_INT32,
    (-(2**63), 2**63 - 1): FieldDescriptorProto.TYPE_INT64,
}
"""The type of an integer by its bounds."""


def reachable(*roots: type[WireMessage]) -> list[type[WireMessage]]:
    """These messages, and those that are in them, each once."""
    found: dict[type[WireMessage], None] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message not in found:
            found[message] = None
            waiting.extend(field.message for field in fields(message) if field.message is not None)
    return list(found)


def full_name(message: type[WireMessage]) -> str:
    """The name of a message in descriptors."""
    return f".{PACKAGE}.{message.__name__}"


def add_map(to: DescriptorProto, field: Field) -> str:
    """Add the type of a map's entries, and return its name."""
    name = "".join(word.capitalize() for word in field.name.split("_")) + "Entry"
    entry = to.nested_type.add(name=name)
    entry.options.map_entry = True
    text = FieldDescriptorProto.TYPE_STRING
    entry.field.add(name="key", number=1, type=text, label=FieldDescriptorProto.LABEL_OPTIONAL)
    value = entry.field.add(name="value", number=2, type=text, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if field.message is not None:
        value.type = FieldDescriptorProto.TYPE_MESSAGE
        value.type_name = full_name(field.message)
    return name


def add_field(to: DescriptorProto, field: Field) -> None:
    """Add a field to the description of a message."""
    made = to.field.add(name=field.name, number=field.number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if field.kind in (Kind.TEXTS, Kind.LIST, Kind.TEXT_MAP, Kind.MAP):
        made.label = FieldDescriptorProto.LABEL_REPEATED
    if field.kind in (Kind.TEXT_MAP, Kind.MAP):
        made.type = FieldDescriptorProto.TYPE_MESSAGE
        made.type_name = f".{PACKAGE}.{to.name}.{add_map(to, field)}"
    elif field.message is not None:
        made.type = FieldDescriptorProto.TYPE_MESSAGE
        made.type_name = full_name(field.message)
    elif field.kind is Kind.INTEGER:
        made.type = INTEGERS[field.lowest, field.highest]
    elif field.kind is Kind.BOOLEAN:
        made.type = FieldDescriptorProto.TYPE_BOOL
    elif field.kind is Kind.PAYLOAD:
        made.type = FieldDescriptorProto.TYPE_BYTES
    else:
        made.type = FieldDescriptorProto.TYPE_STRING


def file_descriptor(*roots: type[WireMessage]) -> FileDescriptorProto:
    """What ``client.proto`` says of these messages and of those in them, as far as they are defined here."""
    file = FileDescriptorProto(name="everwire/client.proto", package=PACKAGE, syntax="proto3")
    for message in reachable(*roots):
        described = file.message_type.add(name=message.__name__)
        for field in fields(message):
            add_field(described, field)
    return file


def message_classes(*roots: type[WireMessage]) -> dict[type[WireMessage], type[Message]]:
    """The classes of the library for these messages and those in them.

    They are in a pool of their own: other packages may have ``client.proto`` in the common one.
    """
    pool = DescriptorPool()
    pool.AddSerializedFile(file_descriptor(*roots).SerializeToString())
    return {
        message: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{message.__name__}"))
        for message in reachable(*roots)
    }
