"""A .proto file at run time: its services, and its messages as plain dicts.

Names are those of the .proto. Integers of all sizes are ints, enums are numbers (a name is taken too when sending),
bytes are bytes, nested messages and maps are dicts, repeated fields are lists; google.protobuf.Timestamp is the
message that it is, `{"seconds": ..., "nanos": ...}`. A field that is not set is absent, as with NestJS's loader.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

from ..errors import PayloadError, UsageError
from ..messages import foreign

__all__ = ["MAX_BYTES", "Method", "Proto", "load", "read", "write"]

MAX_BYTES = 4 * 1024 * 1024  # what gRPC takes in one message, unless the receiver was told otherwise
COMPILE_TIMEOUT = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service: its name on the wire, its messages, and which sides send a stream."""

    service: str
    name: str
    request: Any
    reply: Any
    takes_stream: bool
    gives_stream: bool

    @property
    def address(self) -> str:
        return f"{self.service}/{self.name}"


@dataclass(frozen=True, slots=True)
class Proto:
    """The services of a .proto file: `package.Service` -> method -> what it is."""

    path: Path
    services: Mapping[str, Mapping[str, Method]]

    def service(self, name: str) -> Mapping[str, Method]:
        """The methods of a service, by its full name, or by its last part where that is enough.

        Raises:
            UsageError: none of that name, or several.
        """
        found = [one for one in self.services if one == name] or [
            one for one in self.services if one.rpartition(".")[2] == name
        ]
        if len(found) != 1:
            known = ", ".join(found or self.services) or "none"
            what = "several services" if found else "no service"
            raise UsageError(f"{self.path} has {what} called {name!r}; it has {known}. Nothing was sent.")
        return self.services[found[0]]


def load(path: str | Path) -> Proto:
    """Compile a .proto file, in a folder that is gone afterwards. It may import those beside it, and google/protobuf.

    Raises:
        UsageError: there is no such file, or it is no valid .proto; with the compiler's own words.
    """
    source = Path(path).resolve()
    if not source.is_file():
        raise UsageError(f"there is no .proto file {str(path)!r} (looked for {source}). Nothing was sent.")
    with tempfile.TemporaryDirectory(prefix="postoffice") as folder:
        compiled = Path(folder, "descriptors")
        options = [f"-I{source.parent}", "--include_imports", f"--descriptor_set_out={compiled}"]
        done = subprocess.run(
            [sys.executable, "-m", "grpc_tools.protoc", *options, str(source)],
            capture_output=True,
            text=True,
            timeout=COMPILE_TIMEOUT,
            check=False,
        )
        if done.returncode != 0:
            raise UsageError(f"{path} is no valid .proto file: {done.stderr.strip()}")
        files = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    return Proto(Path(path), _services(files))


def _services(files: Any) -> dict[str, dict[str, Method]]:
    pool = descriptor_pool.DescriptorPool()
    for file in files:  # those that are imported come first
        pool.Add(file)
    services: dict[str, dict[str, Method]] = {}
    for file in files:
        for service in file.service:
            full = f"{file.package}.{service.name}".lstrip(".")
            methods = pool.FindServiceByName(full).methods
            services[full] = {one.name: _method(full, one) for one in methods}
    return services


def _method(service: str, found: Any) -> Method:
    request, reply = map(message_factory.GetMessageClass, (found.input_type, found.output_type))
    return Method(service, found.name, request, reply, found.client_streaming, found.server_streaming)


def write(kind: Any, value: Any) -> bytes:
    """A dict, a dataclass or a model as the bytes of a message; None for a message without fields.

    Raises:
        PayloadError: it does not fit the message, or is larger than gRPC takes.
    """
    name = kind.DESCRIPTOR.full_name
    if value is None and not kind.DESCRIPTOR.fields:
        value = {}
    try:
        fields = msgspec.to_builtins(value, builtin_types=(bytes,), str_keys=False, enc_hook=foreign)
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"{value!r:.80} cannot be a {name}: {error}. Nothing was sent.") from error
    if not isinstance(fields, dict):
        raise PayloadError(f"a {name} is written as a dict of its fields; got {value!r:.80}. Nothing was sent.")
    try:
        data: bytes = kind(**fields).SerializeToString()
    except (TypeError, ValueError) as error:
        raise PayloadError(f"{_misfit(kind, fields) or f'{name}: {error}'}. Nothing was sent.") from error
    if len(data) > MAX_BYTES:
        raise PayloadError(
            f"a {name} of {len(data):,} bytes exceeds what gRPC takes in one message, {MAX_BYTES:,}. Nothing was sent."
            " Send a stream of smaller ones, or a reference to the data."
        )
    return data


def _misfit(kind: Any, fields: dict[str, Any]) -> str | None:
    """The first field that does not fit, and why; the library's own words leave out which it was."""
    for name, value in fields.items():
        try:
            kind(**{name: value})
        except (TypeError, ValueError) as error:
            known = kind.DESCRIPTOR.fields_by_name
            if name not in known:
                return f"{kind.DESCRIPTOR.full_name} has no field {name!r}; it has {', '.join(known) or 'none'}"
            return f"{value!r:.80} does not fit the field {name!r} of {kind.DESCRIPTOR.full_name}: {error}"
    return None


def read(kind: Any, data: bytes, *, whole: bool = False) -> dict[str, Any]:
    """The bytes of a message as a dict. `whole`: with the fields that are not set, as proto3's zero values.

    Raises:
        ValueError: they are no such message.
    """
    try:
        return _fields(kind.FromString(data), whole)
    except Exception as error:  # protobuf's DecodeError, of which there are several kinds
        raise ValueError(f"no {kind.DESCRIPTOR.full_name}: {error}") from error


def _fields(message: Any, whole: bool) -> dict[str, Any]:
    found = {field.name: _value(field, value, whole) for field, value in message.ListFields()}
    if whole:
        for field in message.DESCRIPTOR.fields:
            if field.name not in found and not field.has_presence:  # what has presence may be absent in proto3 as well
                found[field.name] = _value(field, getattr(message, field.name), whole)
    return found


def _value(field: Any, value: Any, whole: bool) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        nested = kind.fields_by_name["value"].message_type is not None
        return {key: _fields(one, whole) if nested else one for key, one in value.items()}
    if field.is_repeated:
        return [one if kind is None else _fields(one, whole) for one in value]
    return value if kind is None else _fields(value, whole)
