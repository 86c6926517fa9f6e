"""Handlers that execute INSERT, UPDATE and DELETE, alone or beside new objects."""

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, Uuid, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.differential.ways import Kind

__all__ = ["KINDS", "PAGES", "UPSERT", "Base", "Page", "Site", "Visit"]


class Base(DeclarativeBase):
    pass


class Site(Base):
    __tablename__ = "site"
    code: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)
    document: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    token: Mapped[UUID] = mapped_column(Uuid, default=uuid4)
    changes: Mapped[int] = mapped_column(default=0, onupdate=7)


class Visit(Base):
    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(ForeignKey(Site.code, ondelete="CASCADE"))
    note: Mapped[str | None]


class Page(Base):
    """Has nothing to do with the others."""

    __tablename__ = "page"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


SITES: Any = Site.__table__
PAGES: Any = Page.__table__
_excluded = insert(Site)
IGNORE = insert(Site).on_conflict_do_nothing()
UPSERT = _excluded.on_conflict_do_update(index_elements=["code"], set_={"hits": Site.hits + _excluded.excluded.hits})
ADD = insert(SITES)
COUNT = update(SITES).where(SITES.c.code == bindparam("wanted")).values(hits=SITES.c.hits + 1)
MARK = update(PAGES).values(name=PAGES.c.name + "m")

RESULTS: list[Any] = []
STATE: dict[str, int] = {}


def _forget() -> None:
    RESULTS.clear()
    STATE.clear()


def _code(number: int) -> str:
    return f"c{number % 3}"


def _ignore(session: Session, number: int) -> None:
    session.execute(IGNORE, {"code": _code(number), "hits": number})


def _upsert(session: Session, number: int) -> None:
    session.execute(UPSERT, {"code": _code(number), "hits": number})


def _upsert_anew(session: Session, number: int) -> None:
    new = insert(Site).values(code=_code(number), hits=number)
    session.execute(new.on_conflict_do_update(index_elements=["code"], set_={"hits": Site.hits + new.excluded.hits}))


def _upsert_and_raise(session: Session, number: int) -> None:
    _upsert(session, number)
    if number % 4 == 3:
        raise ValueError("no")


def _upsert_and_add(session: Session, number: int) -> None:
    _upsert(session, number)
    session.add(Page(name=f"p{number}"))


def _upsert_and_add_doubles(session: Session, number: int) -> None:
    _upsert(session, number)
    session.add(Page(name=f"p{number // 2}"))


def _upsert_and_visit(session: Session, number: int) -> None:
    _upsert(session, number)
    session.add(Visit(code=_code(number), note=str(number)))


def _visit_before_its_site(session: Session, number: int) -> None:
    """A site that a later record adds does not help."""
    if number % 2:
        session.add(Visit(code=f"n{number + 1}"))
    else:
        session.execute(ADD, {"code": f"n{number}"})


def _visit_and_delete(session: Session, number: int) -> None:
    """Deletes what the visits of the record before refer to."""
    session.execute(ADD, {"code": f"n{number}"})
    session.add(Visit(code=f"n{number}"))
    session.execute(delete(Site).where(Site.code == f"n{number - 1}"))


def _double(session: Session, number: int) -> None:
    session.execute(ADD, {"code": f"d{number // 2}", "hits": number})


def _double_and_other(session: Session, number: int) -> None:
    """The error comes at the second statement, which the first is not to outlive."""
    session.execute(UPSERT, {"code": "all", "hits": number})
    session.execute(ADD, {"code": f"d{number // 2}"})


def _double_caught(session: Session, number: int) -> None:
    savepoint = session.begin_nested()
    try:
        session.execute(ADD, {"code": f"d{number // 2}"})
        savepoint.commit()
    except IntegrityError:
        savepoint.rollback()
        session.execute(COUNT, {"wanted": f"d{number // 2}"})


def _double_swallowed(session: Session, number: int) -> None:
    try:
        session.execute(ADD, {"code": f"d{number // 2}"})
    except IntegrityError:
        session.rollback()
        session.execute(UPSERT, {"code": "refused", "hits": 1})


def _no_text(session: Session, number: int) -> None:
    session.execute(UPSERT, {"code": "\0" if number == 5 else "all", "hits": 1})


def _wrong_name(session: Session, number: int) -> None:
    session.execute(COUNT, {"wanted" if number != 5 else "other": "all"})
    session.execute(UPSERT, {"code": "all", "hits": 1})


def _count_rows(session: Session, number: int) -> None:
    counted: Any = session.execute(COUNT, {"wanted": _code(number)})
    if number % 2 and not counted.rowcount:
        session.execute(ADD, {"code": _code(number)})


def _keep_results(session: Session, number: int) -> None:
    """Results of other records tell how many rows were changed."""
    RESULTS.append(session.execute(ADD, {"code": f"k{number}"}))
    session.add(Page(name=f"{number} {sum(result.rowcount for result in RESULTS)}"))


def _go_on_changing(session: Session, number: int) -> None:
    STATE[str(number)] = number
    session.execute(ADD, {"code": f"s{number}", "document": STATE})
    STATE["later"] = number


def _change_and_look(session: Session, number: int) -> None:
    STATE[str(number)] = number
    added: Any = session.execute(ADD, {"code": f"s{number}", "document": STATE})
    STATE["later"] = number
    session.add(Page(name=f"{number} {added.rowcount}"))


def _look_up(session: Session, number: int) -> None:
    _upsert(session, number)
    hits = session.scalar(select(Site.hits).where(Site.code == _code(number)))
    session.add(Page(name=f"{number} {hits}"))


def _add_then_update(session: Session, number: int) -> None:
    """The session flushes before each statement."""
    session.add(Page(name=f"p{number}"))
    session.execute(update(PAGES).values(name=PAGES.c.name + "c"))
    session.execute(update(Page).values(name=Page.name + "o"))


def _add_or_mark(session: Session, number: int) -> None:
    """Marks what earlier records have added, and nothing that later ones add."""
    if number % 2:
        session.add(Page(name=f"p{number}"))
    else:
        session.execute(MARK)


def _load_then_update(session: Session, number: int) -> None:
    _upsert(session, number)
    site = session.get_one(Site, _code(number))
    session.execute(update(Site).where(Site.code == site.code).values(hits=Site.hits * 2))
    session.add(Page(name=f"{number} {site.hits}"))


def _update_from(session: Session, number: int) -> None:
    """A statement that reads the other table, to which new rows are on their way."""
    session.add(Page(name=f"p{number}"))
    _ignore(session, number)
    pages = select(func.count()).select_from(Page).scalar_subquery()
    session.execute(update(SITES).where(SITES.c.code == _code(number)).values(hits=pages))


def _plain_sql(session: Session, number: int) -> None:
    session.add(Page(name=f"p{number}"))
    _ignore(session, number)
    session.execute(text("UPDATE site SET hits = (SELECT count(*) FROM page)"))


def _in_savepoint(session: Session, number: int) -> None:
    savepoint = session.begin_nested()
    _upsert(session, number)
    savepoint.rollback() if number % 2 else savepoint.commit()


def _several(session: Session, number: int) -> None:
    session.execute(ADD, [{"code": f"{number} {n}", "hits": n} for n in range(3)])


_TRIGGER = [
    """
    CREATE FUNCTION copy_page() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE site SET changes = (SELECT count(*) FROM page); RETURN NULL; END $$
    """,
    """
    CREATE TRIGGER copied AFTER INSERT OR UPDATE ON site FOR EACH ROW WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION copy_page()
    """,
]

_SITES = "SELECT code, hits FROM site ORDER BY code"
_PAGES = "SELECT name FROM page ORDER BY id"
_ALL = "SELECT code, hits, document FROM site ORDER BY code"
_summed = [("c0", 9), ("c1", 12), ("c2", 7)]
KINDS = [
    Kind("inserts or ignores", _ignore, _SITES, [("c0", 3), ("c1", 1), ("c2", 2)], Base.metadata, records=7),
    Kind("upserts", _upsert, _SITES, _summed, Base.metadata, records=7),
    Kind("upserts by statements built anew", _upsert_anew, _SITES, _summed, Base.metadata, records=7),
    Kind("upserts, and raises", _upsert_and_raise, _SITES, [("c0", 6), ("c1", 5), ("c2", 7)], Base.metadata,
         frozenset({3, 7}), records=7),
    Kind("upserts, and adds", _upsert_and_add, _SITES, _summed, Base.metadata, records=7),
    Kind("upserts, and adds doubles", _upsert_and_add_doubles, _SITES, [("c0", 6), ("c1", 5), ("c2", 2)], Base.metadata,
         frozenset({3, 5, 7}), records=7),
    Kind("upserts, and adds what refers to it", _upsert_and_visit,
         "SELECT site.code, hits, array_agg(note ORDER BY id) FROM site JOIN visit USING (code) GROUP BY 1, 2 "
         "ORDER BY code",
         [("c0", 9, ["3", "6"]), ("c1", 12, ["1", "4", "7"]), ("c2", 7, ["2", "5"])], Base.metadata, records=7),
    Kind("refers to what a later record inserts", _visit_before_its_site, _SITES, [(f"n{n}", 0) for n in (2, 4, 6)],
         Base.metadata, frozenset({1, 3, 5}), records=6),
    Kind("deletes what earlier rows refer to", _visit_and_delete, "SELECT code FROM visit", [("n6",)], Base.metadata,
         records=6),
    Kind("inserts doubles", _double, _SITES, [("d0", 1), ("d1", 2), ("d2", 4), ("d3", 6)], Base.metadata,
         frozenset({3, 5, 7}), records=7),
    Kind("inserts doubles behind something else", _double_and_other, _SITES,
         [("all", 13), ("d0", 0), ("d1", 0), ("d2", 0), ("d3", 0)], Base.metadata, frozenset({3, 5, 7}), records=7),
    Kind("inserts doubles in savepoints", _double_caught, _SITES, [("d0", 0), ("d1", 1), ("d2", 1), ("d3", 1)],
         Base.metadata, records=7),
    Kind("rolls doubles back", _double_swallowed, _SITES,
         [("d0", 0), ("d1", 0), ("d2", 0), ("d3", 0), ("refused", 3)], Base.metadata, records=7),
    Kind("inserts what is no text", _no_text, _SITES, [("all", 6)], Base.metadata, frozenset({5}), records=7),
    Kind("gives a wrong name", _wrong_name, _SITES, [("all", 11)], Base.metadata, frozenset({5}), records=7),
    Kind("looks at how many rows were updated", _count_rows, _SITES, [("c0", 1), ("c1", 2), ("c2", 0)], Base.metadata,
         records=7),
    Kind("keeps results", _keep_results, _PAGES, [(f"{n} {-n}",) for n in range(1, 6)], Base.metadata, records=5,
         forget=_forget),
    Kind("changes what it has inserted", _go_on_changing, _ALL,
         [("s1", 0, {"1": 1}), ("s2", 0, {"1": 1, "2": 2, "later": 1}),
          ("s3", 0, {"1": 1, "2": 2, "3": 3, "later": 2})], Base.metadata, records=3, forget=_forget),
    Kind("changes what it has inserted, and looks", _change_and_look, _ALL,
         [("s1", 0, {"1": 1}), ("s2", 0, {"1": 1, "2": 2, "later": 1}),
          ("s3", 0, {"1": 1, "2": 2, "3": 3, "later": 2})], Base.metadata, records=3, forget=_forget),
    Kind("upserts, and looks it up", _look_up, _PAGES, [("1 1",), ("2 2",), ("3 3",), ("4 5",), ("5 7",), ("6 9",)],
         Base.metadata, records=6),
    Kind("adds, and updates by Core and ORM", _add_then_update, _PAGES,
         [("p1cocococo",), ("p2cococo",), ("p3coco",), ("p4co",)],
         Base.metadata),
    Kind("adds, and updates what is added", _add_or_mark, _PAGES, [("p1mmm",), ("p3mm",), ("p5m",), ("p7",)],
         Base.metadata, records=7),
    Kind("loads, and updates", _load_then_update, _PAGES, [("1 2",), ("2 4",), ("3 6",), ("4 12",)], Base.metadata),
    Kind("updates by what it has added", _update_from, _SITES, [("c0", 3), ("c1", 4), ("c2", 2)], Base.metadata),
    Kind("updates by plain SQL", _plain_sql, _SITES, [("c0", 4), ("c1", 4), ("c2", 4)], Base.metadata),
    Kind("upserts in savepoints", _in_savepoint, _SITES, [("c0", 6), ("c1", 4), ("c2", 2)], Base.metadata, records=6),
    Kind("inserts several at once", _several, "SELECT count(*), sum(hits) FROM site", [(12, 12)], Base.metadata),
    Kind("upserts with a trigger that reads what is added", _upsert_and_add, "SELECT max(changes) FROM site", [(6,)],
         Base.metadata, records=7, ddl=_TRIGGER),
    Kind("sets defaults, and values on update", _upsert, "SELECT code, changes, count(DISTINCT token) FROM site "
         "GROUP BY 1, 2 ORDER BY 1", [("c0", 0, 1), ("c1", 0, 1), ("c2", 0, 1)], Base.metadata, records=7),
]  # fmt: skip
