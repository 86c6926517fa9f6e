"""What a handler gets for what it asks for, and what it is spared."""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Annotated, Any, NamedTuple, NotRequired, Optional, TypedDict, Union

import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from streamfea import Reject
from streamfea.errors import ConfigurationError
from streamfea.handlers.decoding import Decode, decoder_of, type_name


@dataclass
class Plain:
    n: int
    text: str = ""
    at: datetime | None = None
    inner: "Plain | None" = None


class Keys(TypedDict):
    n: int
    text: NotRequired[str]


class Model(pydantic.BaseModel):
    n: int
    text: str = ""
    inner: "Model | None" = None


@pydantic_dataclass
class Checked:
    n: pydantic.PositiveInt


class Packed(msgspec.Struct):
    n: int
    text: str = ""


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: int


@dataclass
class Holder:
    model: Model


@dataclass
class Host:
    address: IPv4Address


class Pair(NamedTuple):
    left: int
    right: int


class Talkative(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def _complain(cls, n: int) -> int:
        raise ValueError("x" * n)


_JSON = [dict, dict[str, Any], Plain, Keys, Packed, Model]


def decoder(annotation: Any) -> Decode:
    decode = decoder_of(annotation)
    assert decode is not None
    return decode


def reason(annotation: Any, record: bytes) -> str:
    """Return why `record` is turned away."""
    with pytest.raises(Reject) as caught:
        decoder(annotation)(record)
    return caught.value.reason


@pytest.mark.parametrize("annotation", [bytes, Any, object])
def test_bytes_are_left_as_they_came(annotation: Any) -> None:
    assert decoder_of(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "record", "wanted"),
    [
        (str, 'größe "x'.encode(), 'größe "x'),
        (str, b"", ""),
        (dict, b'{"a": [1, null, "x"]}', {"a": [1, None, "x"]}),
        (dict[str, Any], b'{"a": 1.5}', {"a": 1.5}),
        (dict[str, object], b'{"a": {}}', {"a": {}}),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (list, b'[1, "x"]', [1, "x"]),
        (list[Plain], b'[{"n": 1}]', [Plain(1)]),
        (Plain, b'{"n": 1, "unknown": 2}', Plain(1)),
        (
            Plain,
            b'{"n": 1, "at": "2026-01-31T12:00:00Z", "inner": {"n": 2}}',
            Plain(1, at=datetime(2026, 1, 31, 12, tzinfo=UTC), inner=Plain(2)),
        ),
        (Keys, b'{"n": 1}', {"n": 1}),
        (Packed, b'{"n": 1}', Packed(1)),
        (Model, b'{"n": 1, "inner": {"n": 2}}', Model(n=1, inner=Model(n=2))),
        (Checked, b'{"n": 1}', Checked(1)),
        (list[Model], b'[{"n": 1}]', [Model(n=1)]),
        (list[Checked], b'[{"n": "1"}]', [Checked(1)]),  # as pydantic converts, and msgspec does not
        (Holder, b'{"model": {"n": 1}}', Holder(Model(n=1))),
        (Host, b'{"address": "10.0.0.1"}', Host(IPv4Address("10.0.0.1"))),
        (Optional[Plain], b"null", None),  # noqa: UP045 - people write it so
        (Union[Plain, None], b'{"n": 1}', Plain(1)),  # noqa: UP007 - as above
        (Plain | list[int], b"[1]", [1]),
        (Cat | Dog, b'{"type": "Dog", "tricks": 3}', Dog(3)),
        (Model | Checked, b'{"n": 1}', Model(n=1)),
        (Annotated[Plain, "a note"], b'{"n": 1}', Plain(1)),
    ],
)
def test_a_record_becomes_what_is_asked_for(annotation: Any, record: bytes, wanted: object) -> None:
    assert decoder(annotation)(record) == wanted


@pytest.mark.parametrize(
    "annotation",
    [int, None, 3, "text", bytes | None, str | None, Pair, type, complex, Plain | Packed, set[int]],
)
def test_what_cannot_be_decoded_is_a_mistake_of_the_configuration(annotation: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a record cannot be|records cannot be decoded into"):
        decoder_of(annotation)


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (bytes, "bytes"),
        (Any, "bytes"),
        (int, "int"),
        (Plain, "Plain"),
        (dict[str, int], "dict[str, int]"),
        (Plain | None, "tests.unit.test_decoding.Plain | None"),
        (Optional[int], "Optional[int]"),  # noqa: UP045 - people write it so
    ],
)
def test_a_type_is_called_what_its_author_calls_it(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name


def test_the_mistake_names_what_can_be_asked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be int: annotate it as bytes, str, dict, list, a dataclass"):
        decoder_of(int)


def test_the_mistake_names_what_is_wrong_inside_of_a_type() -> None:
    with pytest.raises(ConfigurationError) as caught:
        decoder_of(dict[str, "Nowhere"])  # type: ignore[name-defined]  # noqa: F821 - what is tested
    assert str(caught.value) == "records cannot be decoded into dict[str, 'Nowhere']: Type ''Nowhere'' is not supported"


@pytest.mark.parametrize(
    ("annotation", "record", "told"),
    [
        (Plain, b'{"n": "x"}', "Expected `int`, got `str` - at `$.n`"),
        (Plain, b'{"n": 1, "inner": {"n": null}}', "Expected `int`, got `null` - at `$.inner.n`"),
        (Plain, b"{}", "Object missing required field `n`"),
        (Keys, b"[]", "Expected `object`, got `array`"),
        (Packed, b'{"n": 1.5}', "Expected `int`, got `float` - at `$.n`"),
        (Model, b'{"n": "x"}', "n: Input should be a valid integer, unable to parse string as an integer"),
        (Model, b'{"n": 1, "inner": {}}', "inner.n: Field required"),
        (Checked, b'{"n": -1}', "n: Input should be greater than 0"),
        (dict, b"null", "Expected `object`, got `null`"),
    ],
)
def test_what_does_not_fit_is_rejected_with_field_and_reason(annotation: Any, record: bytes, told: str) -> None:
    assert reason(annotation, record) == told


def test_every_field_that_a_model_finds_wrong_is_told_but_not_hundreds() -> None:
    assert reason(Model, b'{"text": 1}') == "n: Field required; text: Input should be a valid string"
    assert reason(list[Model], b"[" + b",".join([b"{}"] * 100) + b"]").endswith("4.n: Field required; and 95 more")
    assert reason(list[Model], b"[{}, {}, {}, {}, {}]").endswith("4.n: Field required")


def test_a_reason_is_cut_where_it_gets_too_long_to_read() -> None:
    before = "n: Value error, "
    longest = 500 - len(before)
    assert reason(Talkative, b'{"n": %d}' % longest) == f"{before}{'x' * longest}"
    assert reason(Talkative, b'{"n": %d}' % (longest + 1)) == f"{before}{'x' * longest}…"


@pytest.mark.parametrize("annotation", _JSON)
def test_a_reason_does_not_repeat_the_record(annotation: Any) -> None:
    secret = b"x" * 10_000
    for record in (secret, b'"' + secret + b'"', b'{"n": "' + secret + b'"', b'{"' + secret + b'": }'):
        told = reason(annotation, record)
        assert len(told) < 600
        assert "xxxx" not in told


@pytest.mark.parametrize("annotation", [*_JSON, list])
def test_an_empty_record_is_called_that(annotation: Any) -> None:
    assert reason(annotation, b"") == "the record is empty"


@pytest.mark.parametrize("annotation", _JSON)
def test_what_is_not_utf8_is_rejected(annotation: Any) -> None:
    assert "UTF-8" in reason(str, b'{"text": "\xff"}')
    assert reason(annotation, b'{"n": 1, "text": "\xff"}')
    assert reason(annotation, b"\xff\xfe")


def test_the_position_of_what_is_not_utf8_counts_from_the_start() -> None:
    for annotation in (str, dict, Plain):
        assert reason(annotation, b'{"n": 1, "text": "\xff"}') == "not UTF-8: byte 0xff at position 18"


@pytest.mark.parametrize("annotation", _JSON)
def test_lone_surrogates_which_no_database_takes_are_rejected(annotation: Any) -> None:
    assert "unexpected end of hex escape at line 1 column 25" in reason(annotation, b'{"n": 1, "text": "\\ud800"}')


@pytest.mark.parametrize("annotation", _JSON)
@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_none_are_rejected(annotation: Any, number: bytes) -> None:
    assert reason(annotation, b'{"n": ' + number + b"}")


def test_it_is_told_where_such_a_number_stands() -> None:
    assert reason(dict, b'{"n": NaN}') == "not JSON: expected value at line 1 column 7"
    assert reason(Model, b'{"n": NaN}') == "n: Input should be a finite number"


@pytest.mark.parametrize("annotation", _JSON)
def test_of_a_key_that_is_there_twice_the_last_counts(annotation: Any) -> None:
    value: Any = decoder(annotation)(b'{"n": 1, "n": 2}')
    assert (value["n"] if isinstance(value, dict) else value.n) == 2


@pytest.mark.parametrize("annotation", _JSON)
def test_huge_numbers_are_exact_or_rejected(annotation: Any) -> None:
    value: Any = decoder(annotation)(b'{"n": 1' + b"0" * 30 + b"}")
    assert (value["n"] if isinstance(value, dict) else value.n) == 10**30
    assert reason(annotation, b'{"n": 1' + b"0" * 10_000 + b"}")


@pytest.mark.parametrize("annotation", [*_JSON, list, list[Plain]])
@pytest.mark.parametrize("opening", [b'{"n": 1, "inner": ', b"[", b'{"n": 1, "unknown": [', b'{"a": '])
def test_records_nested_beyond_reason_are_rejected(annotation: Any, opening: bytes) -> None:
    assert reason(annotation, opening * 200_000)
