"""Which tables a statement, or new rows, may read and write: two that meet in none may change places."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, Table, text

from streamfea.database.copy.columns import as_sent

__all__ = ["EVERYTHING", "Footprint", "Footprints", "has_harmless_calls_only", "is_of_one_table"]

# Triggers, rules, policies and functions of users may read and write anything, and a part of a table is two tables.
_ABOUT_TABLE = text(
    "SELECT oid, relkind = 'r' AND NOT (relispartition OR relhassubclass OR relhasrules OR relrowsecurity) "
    "AND NOT EXISTS (SELECT FROM pg_attribute JOIN pg_collation c ON c.oid = attcollation "
    "WHERE attrelid = pg_class.oid AND NOT collisdeterministic) "
    "AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = pg_class.oid) "
    "AND NOT EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = pg_class.oid) "
    "AND NOT EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_proc'::regclass AND ("
    "classid = 'pg_attrdef'::regclass AND objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = pg_class.oid) OR "
    "classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint WHERE conrelid = pg_class.oid) OR "
    "classid = 'pg_class'::regclass AND objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = pg_class.oid))) "
    "AS is_plain, "
    "ARRAY(SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid = pg_class.oid) AS refers_to, "
    "ARRAY(SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = pg_class.oid) AS referred_by "
    "FROM pg_class WHERE oid = to_regclass(:name)"
)

# What may stand before a parenthesis in the SQL of a statement that reads and writes nothing but its own table.
_NAMES_OF_PARTS = r"\bINTO\s+\S+\s*\(|\bCONFLICT\s*\(|\bVALUES\s*\(|::[A-Z ]+\("
_HARMLESS = {"and", "or", "not", "in", "any", "set", "where", "then", "when", "else", "case", "returning", "is", "cast"}
_HARMLESS |= {"coalesce", "greatest", "least", "now", "lower", "upper", "abs", "nullif", "length", "round"}
_HARMLESS |= {"count", "min", "max", "sum", "avg"}
_CALL = re.compile(r"([\w\".$]+)\s*\(")
_OTHERS = re.compile(r"\b(?:select|from|using|with|table|join)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Footprint:
    """The tables that are read and written, by number."""

    reads: frozenset[int]
    writes: frozenset[int]

    def meets(self, other: "Footprint") -> bool:
        """Tell whether the order of the two may make a difference."""
        if self is EVERYTHING or other is EVERYTHING:
            return True
        return bool(self.writes & (other.writes | other.reads) or self.reads & other.writes)


EVERYTHING = Footprint(frozenset(), frozenset())
"""What may read and write any table."""


class Footprints:
    """The footprints of a database's tables; looked up once for each."""

    def __init__(self) -> None:
        self._known: dict[str, _Own] = {}
        self._names: dict[Table, str] = {}

    def of(self, table: Table, connect: Callable[[], Connection], *, adds_only: bool) -> Footprint:
        """Return what a statement on `table` reads and writes, and new rows for it if it `adds_only`."""
        if table not in self._names:
            self._names[table] = as_sent(connect().dialect.identifier_preparer.format_table(table))
        own = self._of(self._names[table], connect)
        return own.adding if adds_only else own.changing

    def of_reading(self, name: str, connect: Callable[[], Connection]) -> Footprint:
        """Return what a SELECT on the table reads that has this name."""
        return self._of(name, connect).reading

    def _of(self, name: str, connect: Callable[[], Connection]) -> "_Own":
        if name not in self._known:
            self._known[name] = _look_up(name, connect())
        return self._known[name]

    def forget(self) -> None:
        """Look all of it up anew: a name may stand for another table from now on."""
        self._known.clear()


@lru_cache(maxsize=2_000)
def is_of_one_table(sql: str) -> bool:
    """Tell whether an INSERT, UPDATE or DELETE can read no table but its own."""
    if sql.upper().startswith("DELETE FROM "):
        sql = sql[len("DELETE FROM ") :]
    return not _OTHERS.search(sql) and has_harmless_calls_only(re.sub(_NAMES_OF_PARTS, "", sql))


def has_harmless_calls_only(sql: str) -> bool:
    """Tell whether SQL calls no function but some that are known to read and write nothing."""
    names: Sequence[str] = _CALL.findall(sql)
    return all(name.lower() in _HARMLESS for name in names)


class _Own(NamedTuple):
    """What changes, new rows and SELECTs of one table read and write."""

    changing: Footprint
    adding: Footprint
    reading: Footprint


def _look_up(name: str, connection: Connection) -> _Own:
    about = connection.execute(_ABOUT_TABLE, {"name": name}).one_or_none()
    if about is None or not about.is_plain:
        return _Own(EVERYTHING, EVERYTHING, EVERYTHING)
    own = frozenset([about.oid])
    around = frozenset([*about.refers_to, *about.referred_by])
    # A key that changes, or goes, may take rows with it that refer to it.
    return _Own(
        Footprint(own | around, own | frozenset(about.referred_by)),
        Footprint(own | frozenset(about.refers_to), own),
        Footprint(own, frozenset()),
    )
