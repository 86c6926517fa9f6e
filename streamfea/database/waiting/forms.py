"""The forms of the statements that may wait: the SQL that SQLAlchemy sends for them, and how their values are bound.

To build, compile and execute a statement by SQLAlchemy costs more than PostgreSQL's part. A form does only what depends
on the record. It is trusted once SQLAlchemy itself has sent the same SQL, with the same values, for one record.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any
from weakref import ref

from sqlalchemy import Delete, Dialect, Insert, Table, Update
from sqlalchemy.sql.compiler import SQLCompiler

from streamfea.database.waiting.frozen import CannotFreeze, frozen, is_same
from streamfea.orm.internals import bind_processors_of, cached_compiled, is_orm_enabled, json_dumps_of, takes_no_context

__all__ = ["Bound", "Form", "Forms", "Trust"]

# Statements and forms that are kept; a handler that builds its SQL from its record's values never comes to an end.
_MOST = 500

Values = dict[str, Any]


class Trust(Enum):
    """Whether a form is known to be what SQLAlchemy sends."""

    NOT_YET = "not yet"
    YES = "yes"
    NO = "no"


@dataclass(slots=True, eq=False)
class Form:
    """The SQL of an INSERT, UPDATE or DELETE on `table`; `defaults` make values that the model has a function for."""

    sql: str
    table: Table
    compiled: SQLCompiler
    is_orm: bool
    defaults: Mapping[str, Callable[[], Any]]
    processors: Mapping[str, Callable[[Any], Any]]
    dumps: Callable[[Any], str | bytes]
    trust: Trust = Trust.NOT_YET

    @property
    def adds_only(self) -> bool:
        """Whether it does no more to the table than to add rows."""
        return self.sql.startswith("INSERT ") and "DO UPDATE" not in self.sql

    def look_at(self, sql: str, values: Any, expected: Values) -> None:
        """Compare what SQLAlchemy has sent with the form and what it would have bound, but for made values."""
        is_same = sql == self.sql and isinstance(values, dict) and values.keys() == expected.keys()
        self.trust = Trust.YES if is_same and self._are_alike(values, expected) else Trust.NO

    def _are_alike(self, values: Values, expected: Values) -> bool:
        try:
            return all(
                is_same(frozen(value, self.dumps), expected[name])
                for name, value in values.items()
                if name not in self.defaults
            )
        except CannotFreeze:
            return False


@dataclass(slots=True, eq=False)
class Bound:
    """A statement, its form, and the values that it has by itself."""

    statement: Any
    form: Form
    own: Values
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = frozenset(self.own)

    def values(self, given: Mapping[str, Any], *, with_defaults: bool = True) -> Values | None:
        """Return the values to send, which nobody can change any more; None if that cannot be said here."""
        if not self.names >= given.keys():
            return None
        values = self.own.copy()
        values.update(given)
        form = self.form
        try:
            for name, default in form.defaults.items() if with_defaults else ():
                values[name] = default()
            for name, process in form.processors.items():
                if with_defaults or name not in form.defaults:
                    values[name] = process(values[name])
            for name, value in values.items():
                values[name] = frozen(value, form.dumps)
        except Exception:  # SQLAlchemy will meet it again, and raise it
            return None
        return values


class Forms:
    """The forms of a dialect's statements."""

    def __init__(self) -> None:
        self._compiled: dict[Any, Any] = {}
        self._forms: dict[SQLCompiler, Form | None] = {}
        self._bound: dict[tuple[int, tuple[str, ...]], Bound] = {}
        self._met: dict[int, ref[Any]] = {}

    def bound(self, statement: Any, given: Mapping[str, Any], dialect: Dialect) -> Bound | None:
        """Return a statement with its form; None for one that has to go at once."""
        key = (id(statement), tuple(given))
        known = self._bound.get(key)
        if known is None:
            known = self._bind(statement, given, dialect)
            if known is None:
                return None
            if self._comes_again(statement):
                self._bound[key] = known
        return known

    def _comes_again(self, statement: Any) -> bool:
        """Tell whether the same object was here before; one that a record has built may hold all of the record."""
        before = self._met.get(id(statement))
        if len(self._met) >= _MOST:
            self._met.clear()
            self._bound.clear()
        self._met[id(statement)] = ref(statement)
        return before is not None and before() is statement

    def forget(self) -> None:
        """Have all forms be compared with what SQLAlchemy sends once more."""
        self._forms.clear()
        self._compiled.clear()
        self._bound.clear()

    def _bind(self, statement: Any, given: Mapping[str, Any], dialect: Dialect) -> Bound | None:
        if len(self._forms) >= _MOST:
            self.forget()
        try:
            compiled, own = cached_compiled(statement, dialect, self._compiled, sorted(given))
            if compiled is None:
                return None
            if compiled not in self._forms:
                self._forms[compiled] = _form(statement, compiled, dialect)
            form = self._forms[compiled]
            if form is None:
                return None
            return Bound(statement, form, {**compiled.construct_params(dict(given), own), **_scalar_defaults(compiled)})
        except Exception:  # SQLAlchemy will meet it again, and raise it
            return None


def _form(statement: Any, compiled: SQLCompiler, dialect: Dialect) -> Form | None:
    """Return the form of a statement on one table; None if its result has rows, or its values need its context."""
    table = statement.table
    has_rows = bool(statement.exported_columns)
    if not isinstance(statement, Insert | Update | Delete) or not isinstance(table, Table) or has_rows:
        return None
    if compiled.positional or compiled.post_compile_params or compiled.literal_execute_params:
        return None
    if compiled.escaped_bind_names or not hasattr(compiled, "insert_prefetch"):
        return None
    defaults: dict[str, Callable[[], Any]] = {}
    for default in _prefetched(compiled):
        if default.is_scalar:
            continue
        if not (default.is_callable and takes_no_context(default.arg)):
            return None
        defaults[default.column.key] = partial(default.arg, None)
    return Form(
        compiled.string,
        table,
        compiled,
        is_orm_enabled(statement),
        defaults,
        bind_processors_of(compiled),
        json_dumps_of(dialect) or json.dumps,
    )


def _prefetched(compiled: SQLCompiler) -> list[Any]:
    return [
        *(column.default for column in compiled.insert_prefetch),
        *(column.onupdate for column in compiled.update_prefetch),
    ]


def _scalar_defaults(compiled: SQLCompiler) -> Values:
    return {default.column.key: default.arg for default in _prefetched(compiled) if default.is_scalar}
