"""Handlers that add objects and execute statements in one record."""

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.differential.kinds_of_statements import PAGES, UPSERT, Base, Page, Site, Visit
from tests.differential.ways import Kind

__all__ = ["KINDS"]

PAGE = insert(PAGES)


def _upsert(session: Session, number: int) -> None:
    session.execute(UPSERT, {"code": f"c{number % 3}", "hits": number})


def _add_and_upsert(session: Session, number: int) -> None:
    session.add(Page(name=f"p{number}"))
    _upsert(session, number)


def _add_upsert_and_raise(session: Session, number: int) -> None:
    _add_and_upsert(session, number)
    session.add(Page(name=f"q{number}"))
    if number % 2:
        raise ValueError("no")


def _add_hold_and_upsert(session: Session, number: int) -> None:
    page = Page(name=f"p{number}")
    session.add(page)
    _upsert(session, number)
    page.name += f" {page.id > 0}"


def _visit_upsert_and_site(session: Session, number: int) -> None:
    """The visit is flushed before its site is there, but for the first, which nothing flushes before."""
    session.add(Visit(code=f"n{number}"))
    session.execute(PAGE, {"name": f"p{number}"})
    session.add(Site(code=f"n{number}"))


def _add_upsert_and_commit(session: Session, number: int) -> None:
    session.add(Page(name=f"p{number // 2}"))
    _upsert(session, number)
    try:
        session.commit()
    except IntegrityError:
        session.rollback()


_SITES = "SELECT code, hits FROM site ORDER BY code"
_PAGES = "SELECT name FROM page ORDER BY id"
KINDS = [
    Kind("adds, and upserts", _add_and_upsert, _SITES, [("c0", 9), ("c1", 12), ("c2", 7)], Base.metadata, records=7),
    Kind("adds, upserts and raises", _add_upsert_and_raise, "SELECT name FROM page ORDER BY name",
         [("p2",), ("p4",), ("p6",), ("q2",), ("q4",), ("q6",)], Base.metadata, frozenset({1, 3, 5, 7}), records=7),
    Kind("adds and holds, and upserts", _add_hold_and_upsert, _PAGES, [(f"p{n} True",) for n in range(1, 5)],
         Base.metadata),
    Kind("adds what it refers to behind a statement", _visit_upsert_and_site, _SITES, [], Base.metadata,
         frozenset({1, 2, 3, 4})),
    Kind("adds, upserts, commits and catches", _add_upsert_and_commit, "SELECT name FROM page ORDER BY name",
         [("p0",), ("p1",), ("p2",), ("p3",)], Base.metadata, frozenset({3, 5, 7}), records=7),

]  # fmt: skip
