"""JSON Schema (2020-12) of the code's own types, as narrow as what is really read and written."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

Schema = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"
DETAILS: Schema = {
    "type": "object",
    "properties": {
        "outcome": {
            "enum": ["none", "unknown"],
            "description": "of `unavailable`: nothing was changed, or it may have happened",
        },
        "retryAfterMs": {"type": "integer", "minimum": 0, "description": "when to try, or to connect, again"},
        "seats": {"type": "array", "items": {"type": "string"}, "description": "the seats that it is about"},
        "maxSeats": {"type": "integer", "description": "of `too_many_seats`"},
        "startsAt": {"type": "integer", "description": "of `not_open`: Unix milliseconds"},
    },
}
"""What an error may tell besides, over the WebSocket and over HTTP."""


def ref(type: type[Struct]) -> Schema:
    """Where a type's schema stands in a document."""
    return {"$ref": TEMPLATE.format(name=type.__name__)}


def details() -> Schema:
    """Where `DETAILS` stands in a document."""
    return {"$ref": TEMPLATE.format(name="Details")}


def of(type: Any) -> Schema:
    """The schema of anything that needs no name."""
    (schema,), _ = msgspec.json.schema_components([type], ref_template=TEMPLATE)
    tidied: Schema = _tidied(schema)
    return tidied


def read(types: Iterable[Any]) -> dict[str, Schema]:
    """What we read: a field with a default may be absent, and unknown ones are ignored."""
    return _components(types)


def written(types: Iterable[Any]) -> dict[str, Schema]:
    """What we write: a field is absent only where the type says so."""
    schemas = _components(types)
    for struct in _structs(types):
        schema = schemas[struct.__name__]
        schema["required"] = _always_there(struct)
        for field in schema["properties"].values():
            field.pop("default", None)
    return schemas


def described(schemas: dict[str, Schema], shapes: Mapping[tuple[str, str], Schema]) -> None:
    """Say what stands in fields that the code passes on as bytes: ``(type, field)`` -> schema."""
    for (name, field), shape in shapes.items():
        if schemas[name]["properties"][field] != {}:
            raise ValueError(f"{name}.{field} has a schema of its own")
        schemas[name]["properties"][field] = shape


def _components(types: Iterable[Any]) -> dict[str, Schema]:
    _, schemas = msgspec.json.schema_components(types, ref_template=TEMPLATE)
    return {name: _tidied(schema) for name, schema in schemas.items()}


def _tidied(node: Any) -> Any:
    """As others read it: ECMA-262 knows no ``\\A``, and a type needs no title that is its name."""
    if isinstance(node, list):
        return [_tidied(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidy = {
        key: _tidied(value) for key, value in node.items() if key != "title" or not isinstance(value, str)
    }
    if isinstance(tidy.get("pattern"), str):
        tidy["pattern"] = tidy["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(tidy.get("description"), str):
        tidy["description"] = tidy["description"].replace("``", "`")
    if len(tidy) == 1 and len(tidy.get("enum", ())) == 1:
        return {"const": tidy["enum"][0]}
    return tidy


def _structs(types: Iterable[Any]) -> Iterator[type[Struct]]:
    """All struct types among those, and within them."""
    found: set[type[Struct]] = set()
    left = list(msgspec.inspect.multi_type_info(types))
    while left:
        node = left.pop()
        if isinstance(node, msgspec.inspect.StructType):
            if node.cls in found:
                continue
            found.add(node.cls)
            left += [field.type for field in node.fields]
        left += _inner(node)
    yield from sorted(found, key=lambda struct: struct.__name__)


def _inner(node: Any) -> Iterator[Any]:
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(node, name, None), msgspec.inspect.Type):
            yield inner
    for name in ("types", "item_types"):
        inner = getattr(node, name, ())
        yield from inner if isinstance(inner, tuple) else ()


def _always_there(struct: type[Struct]) -> list[str]:
    """The names of the fields that are never left out, the tag first."""
    config = struct.__struct_config__
    names = [config.tag_field] if config.tag_field else []
    for field in msgspec.structs.fields(struct):
        may_lack = field.default is UNSET or (config.omit_defaults and not field.required)
        if not may_lack:
            names.append(field.encode_name)
    return names
