"""Golden samples: what was written once is read today, and written again the same."""

import json
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec
import pytest
from jsonschema import Draft202012Validator

from contracts import catalog, inputs
from contracts.documents.schemas import schema_of
from contracts.message import decode, encode

FOLDER = Path(__file__).resolve().parents[3] / "contracts" / "samples"
Kind: TypeAlias = type[msgspec.Struct]

messages = pytest.mark.parametrize("message", catalog.messages(), ids=lambda m: m.__name__)
both = pytest.mark.parametrize("which", ["full", "minimal"])


def sample(message: Kind, which: str) -> Any:
    path = FOLDER / catalog.file_name(message)
    return json.loads(path.read_text(encoding="utf-8"))[which]


def same(left: Any, right: Any) -> bool:
    """Equality of JSON: 1, 1.0 and true are three values."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def test_every_message_has_a_sample_and_every_sample_a_message() -> None:
    wanted = {catalog.file_name(message) for message in catalog.messages()}
    assert {path.name for path in FOLDER.iterdir()} == wanted


@messages
@both
def test_sample_is_read_and_written_again_the_same(message: Kind, which: str) -> None:
    golden = sample(message, which)
    read = decode(json.dumps(golden).encode(), message)
    assert same(json.loads(encode(read)), golden)


@messages
@both
def test_sample_follows_its_schema(message: Kind, which: str) -> None:
    Draft202012Validator(schema_of(message)).validate(sample(message, which))


@messages
def test_full_sample_sets_every_field_of_every_part(message: Kind) -> None:
    seen: dict[str, set[str]] = {}
    _visit(decode(json.dumps(sample(message, "full")).encode(), message), seen)
    for part in catalog.parts_of(message):
        assert seen[part.__name__] == set(part.__struct_fields__), part.__name__


@messages
def test_minimal_sample_has_the_required_fields_alone(message: Kind) -> None:
    required = {f.encode_name for f in msgspec.structs.fields(message) if f.required}
    tag = message.__struct_config__.tag_field
    assert set(sample(message, "minimal")) == required | ({tag} if tag else set())


@messages
@pytest.mark.parametrize("extra", ["a_field_of_tomorrow"])
def test_a_field_of_tomorrow_is_ignored_but_in_requests_refused(message: Kind, extra: str) -> None:
    data = json.dumps({**sample(message, "minimal"), extra: 1}).encode()
    if message.__struct_config__.forbid_unknown_fields:
        with pytest.raises(ValueError, match=extra):
            decode(data, message)
    else:
        assert encode(decode(data, message)) == encode(
            decode(json.dumps(sample(message, "minimal")).encode(), message)
        )


@pytest.mark.parametrize("kind", get_args(inputs.AnyInput), ids=lambda m: m.__name__)
def test_the_input_union_tells_the_kinds_apart(kind: Kind) -> None:
    read: object = msgspec.json.decode(json.dumps(sample(kind, "full")), type=inputs.AnyInput)
    assert type(read) is kind


def _visit(value: Any, seen: dict[str, set[str]]) -> None:
    """Collect which fields of which struct hold something other than their default."""
    if isinstance(value, msgspec.Struct):
        fields = seen.setdefault(type(value).__name__, set())
        for field in msgspec.structs.fields(value):
            inner = getattr(value, field.name)
            if field.required or inner != field.default:
                fields.add(field.name)
            _visit(inner, seen)
    elif isinstance(value, list | tuple):
        for inner in value:
            _visit(inner, seen)
