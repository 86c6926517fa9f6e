"""A configuration is checked, and its tables made, refreshed and dropped."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from streamfea.admin.check import check
from streamfea.admin.tables import Tables
from streamfea.config.loading import load_settings
from streamfea.config.settings import Settings
from streamfea.core.check_result import CheckResult
from streamfea.errors import StreamfeaError
from streamfea.handlers.loading import Handler
from tests.support.commands import HANDLERS, Project


@pytest.fixture
def settings(project: Project, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a project whose table is there."""
    monkeypatch.syspath_prepend(HANDLERS)
    return load_settings(project.config)


@pytest.fixture
def own_tables(settings: Settings) -> Tables:
    """What the handler `recorder` has, without the models of other tests in this process."""
    return Tables([schema for schema in Tables.of(settings).schemas if schema.name == "recorder"])


def test_tables_are_dropped_and_created(own_tables: Tables, engine: Engine) -> None:
    assert (own_tables.names, own_tables.views) == (["seen"], [])
    assert own_tables.create(engine).created == []
    assert own_tables.drop(engine) == ["seen"]
    assert own_tables.create(engine).created == ["seen"]
    assert own_tables.migrate(engine).created == []
    assert list(own_tables.refresh_views(engine)) == []


def test_a_handler_whose_models_have_not_changed_needs_no_migration(settings: Settings, engine: Engine) -> None:
    assert Tables.of(settings).make_migration(engine, settings.queues["q"], "nothing") is None


def test_a_handler_that_is_not_there_is_an_error(project: Project) -> None:
    project.configure(handler="nowhere")

    with pytest.raises(StreamfeaError, match="there is no module 'nowhere'"):
        Tables.of(load_settings(project.config))


def test_a_check_says_of_each_thing_whether_it_is_well_and_what_helps(
    settings: Settings, own_tables: Tables, engine: Engine
) -> None:
    before = {result.what: result for result in check(settings)}
    own_tables.drop(engine)
    after = {result.what: result for result in check(settings)}

    assert {before[what].level for what in ("queue q: handler", "redis", "queue q: stream", "database")} == {"ok"}
    assert "seen" not in before["tables"].detail.partition(" lacks ")[2]
    assert "seen" in after["tables"].detail.partition(" lacks ")[2]
    assert after["tables"].level == "problem"
    assert after["tables"].remedy == "run `streamfea initdb`, or consume with --create-tables"


def test_a_check_goes_on_behind_a_handler_that_cannot_be_used(project: Project) -> None:
    project.configure(handler="nowhere")

    results = {result.what: result for result in check(load_settings(project.config))}

    assert results["queue q: handler"].remedy == "correct the handler or its name"
    assert results["database"].level == "ok"


def test_a_face_may_have_its_own_say_about_each_handler(settings: Settings) -> None:
    def say(handler: Handler) -> Iterator[CheckResult]:
        yield CheckResult(f"the face's view of {handler.queue.name}", "warning", "pale")

    assert "the face's view of q" in {result.what for result in check(settings, say)}
