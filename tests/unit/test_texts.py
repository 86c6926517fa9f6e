"""Records of `field = "*"`, whose values are text, read as the annotation says."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from streamfea.errors import Reject
from streamfea.handlers.decoding import decoder_of


@dataclasses.dataclass
class Plain:
    n: int
    share: float
    on: bool
    at: datetime
    text: str
    maybe: int | None = None
    tags: list[str] = dataclasses.field(default_factory=list)


class Keys(TypedDict):
    n: int
    share: float
    on: bool
    at: datetime
    text: str
    maybe: NotRequired[int | None]
    tags: NotRequired[list[str]]


class Packed(msgspec.Struct):
    n: int
    share: float
    on: bool
    at: datetime
    text: str
    maybe: int | None = None
    tags: list[str] = []


class Model(pydantic.BaseModel):
    n: int
    share: float
    on: bool
    at: datetime
    text: str
    maybe: int | None = None
    tags: list[str] = []


_FIELDS = {"n": "-5", "share": "0.25", "on": "true", "at": "2024-05-01T10:00:00Z", "text": "7"}
_AT = datetime(2024, 5, 1, 10, tzinfo=UTC)


def read(annotation: Any, fields: dict[str, str]) -> dict[str, Any]:
    """Return the members of what is made of these fields."""
    decode = decoder_of(annotation, from_text=True)
    assert decode is not None
    record: Any = decode(json.dumps(fields).encode())
    if isinstance(record, dict):
        return record
    return {name: getattr(record, name) for name in _FIELDS.keys() | fields.keys()}


@pytest.mark.parametrize("annotation", [Plain, Keys, Packed, Model])
def test_text_is_read_as_the_annotation_says(annotation: Any) -> None:
    assert read(annotation, _FIELDS) == {"n": -5, "share": 0.25, "on": True, "at": _AT, "text": "7"}
    assert read(annotation, {**_FIELDS, "on": "0"})["on"] is False


@pytest.mark.parametrize("annotation", [Plain, Keys, Packed, Model, Plain | None])
def test_what_produce_writes_of_null_and_lists_is_read_and_text_is_left_alone(annotation: Any) -> None:
    fields = {**_FIELDS, "maybe": "null", "tags": '["a", "b"]', "text": "null"}
    found = read(annotation, fields)
    assert (found["maybe"], found["tags"], found["text"]) == (None, ["a", "b"], "null")
    assert read(annotation, {**_FIELDS, "maybe": "3"})["maybe"] == 3
    assert read(annotation, {**_FIELDS, "text": "[1]"})["text"] == "[1]"


@pytest.mark.parametrize("annotation", [Plain, Keys, Packed, Model])
@pytest.mark.parametrize(
    ("name", "text"), [("n", "five"), ("n", "1.5"), ("on", "perhaps"), ("at", "soon"), ("tags", "[a")]
)
def test_what_does_not_fit_is_rejected_with_the_field(annotation: Any, name: str, text: str) -> None:
    with pytest.raises(Reject) as caught:
        read(annotation, {**_FIELDS, name: text})
    assert name in caught.value.reason


def test_values_of_a_dict_are_read_too() -> None:
    assert read(dict[str, int], {"a": "1"}) == {"a": 1}
    assert read(dict, {"a": "1"}) == {"a": "1"}


def test_in_a_record_of_one_field_text_is_still_no_number() -> None:
    decode = decoder_of(Plain)
    assert decode is not None
    with pytest.raises(Reject):
        decode(json.dumps(_FIELDS).encode())
