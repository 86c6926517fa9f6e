"""Errors that people read: what happened and, apart from that, what to do."""

from pathlib import Path

import pytest

from streamfea.config.loading import load_settings
from streamfea.errors import ConfigurationError, StreamfeaError
from streamfea.handlers.decoding import decoder_of


def test_an_error_keeps_its_remedy_apart_and_reads_as_one_sentence() -> None:
    error = StreamfeaError("the tables are missing", remedy="run `streamfea initdb`")

    assert (error.message, error.remedy) == ("the tables are missing", "run `streamfea initdb`")
    assert str(error) == "the tables are missing: run `streamfea initdb`"


def test_an_error_that_nothing_helps_against_is_its_message() -> None:
    assert (StreamfeaError("it is gone").remedy, str(StreamfeaError("it is gone"))) == ("", "it is gone")


def test_a_configuration_that_is_not_there_names_the_command_that_writes_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STREAMFEA_CONFIG", raising=False)

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    assert "`" not in caught.value.message
    assert "`streamfea new-handler NAME`" in caught.value.remedy


def test_an_annotation_that_cannot_be_decoded_into_names_those_that_can() -> None:
    with pytest.raises(ConfigurationError) as caught:
        decoder_of(int)

    assert caught.value.message == "a record cannot be int"
    assert caught.value.remedy.startswith("annotate it as bytes, str")
