"""Records that do, one step after the other, whatever handlers do to a session."""

import contextlib
from collections.abc import Callable

from sqlalchemy import ForeignKey, func, insert, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.schema import UniqueConstraint

from streamfea.errors import Reject, Retry


class Base(DeclarativeBase):
    """Apart from streamfea's own, so that these tables are nobody else's."""


class Owner(Base):
    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hits: Mapped[int]
    items: Mapped[list["Item"]] = relationship(back_populates="owner")


class Item(Base):
    __tablename__ = "item"
    __table_args__ = (UniqueConstraint("late", deferrable=True, initially="DEFERRED"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    code: Mapped[int | None] = mapped_column(unique=True)
    late: Mapped[int | None]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    owner: Mapped[Owner | None] = relationship(back_populates="items")


class Plain(Base):
    """Without relationships, so that forgetting one is easy."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str]
    code: Mapped[int | None] = mapped_column(unique=True)


class BrokenError(Exception):
    """What a handler raises when it does not know further."""


def _add(session: Session) -> None:
    session.add(Item(note="added"))


def _add_plain(session: Session) -> None:
    session.add(Plain(note="added"))


def _add_many(session: Session) -> None:
    session.add_all([Plain(note="one of two"), Plain(note="the other")])


def _add_null(session: Session) -> None:
    session.add(Plain())


def _add_taken(session: Session) -> None:
    session.add(Plain(note="mine", code=1))


def _add_taken_item(session: Session) -> None:
    session.add(Item(note="mine", code=1))


def _add_late(session: Session) -> None:
    session.add(Item(note="found out at commit", late=1))


def _add_orphan(session: Session) -> None:
    session.add(Item(note="whose?", owner_id=99))


def _add_owned(session: Session) -> None:
    session.add(Item(note="owned", owner_id=1))


def _add_new_owner(session: Session) -> None:
    session.add(Owner(id=7, hits=0, items=[Item(note="came with its owner")]))


def _attach(session: Session) -> None:
    owner = session.get_one(Owner, 1)
    owner.items.append(Item(note=f"number {len(owner.items)}"))


def _count(session: Session) -> None:
    items = session.scalar(select(func.count()).select_from(Item))
    plain = session.scalar(select(func.count()).select_from(Plain))
    session.add(Plain(note=f"saw {items} and {plain}"))


def _count_by_text(session: Session) -> None:
    session.add(Plain(note=f"saw {session.execute(text('SELECT count(*) FROM plain')).scalar_one()}"))


def _count_unflushed(session: Session) -> None:
    with session.no_autoflush:
        _count(session)


def _hit(session: Session) -> None:
    session.get_one(Owner, 1).hits += 1


def _hit_all(session: Session) -> None:
    session.execute(update(Owner).values(hits=Owner.hits + 10))


def _upsert(session: Session) -> None:
    statement = postgresql.insert(Owner).values(id=5, hits=1)
    changed = statement.on_conflict_do_update(index_elements=[Owner.id], set_={"hits": Owner.hits + 1})
    session.connection().execute(changed)


def _insert_by_hand(session: Session) -> None:
    session.execute(insert(Plain).values(note="by hand"))


def _rename_first(session: Session) -> None:
    first = session.scalars(select(Item).order_by(Item.id).limit(1)).first()
    if first is not None:
        first.note += "!"


def _delete_last(session: Session) -> None:
    last = session.scalars(select(Item).order_by(Item.id.desc()).limit(1)).first()
    if last is not None:
        session.delete(last)


def _merge(session: Session) -> None:
    session.merge(Owner(id=1, hits=100))


def _flush(session: Session) -> None:
    session.flush()


def _commit(session: Session) -> None:
    session.commit()


def _commit_connection(session: Session) -> None:
    session.flush()
    session.connection().commit()


def _swallow_commit_connection(session: Session) -> None:
    with contextlib.suppress(Exception):
        session.connection().commit()


def _roll_back_connection(session: Session) -> None:
    session.connection().rollback()


def _roll_back(session: Session) -> None:
    session.rollback()


def _swallow_flush(session: Session) -> None:
    session.add(Plain())
    with contextlib.suppress(SQLAlchemyError):
        session.flush()


def _swallow_flush_and_roll_back(session: Session) -> None:
    session.add(Plain(note="mine", code=1))
    try:
        session.flush()
    except SQLAlchemyError:
        session.rollback()


def _swallow_statement(session: Session) -> None:
    with contextlib.suppress(SQLAlchemyError):
        session.execute(text("SELECT 1 / 0"))


def _swallow_commit(session: Session) -> None:
    with contextlib.suppress(IntegrityError):
        session.commit()


def _swallow_commit_and_roll_back(session: Session) -> None:
    try:
        session.commit()
    except IntegrityError:
        session.rollback()


def _savepoint(session: Session) -> None:
    with session.begin_nested():
        session.add(Plain(note="in a savepoint"))


def _swallow_savepoint(session: Session) -> None:
    with contextlib.suppress(IntegrityError), session.begin_nested():
        session.add(Plain(note="mine", code=1))


def _roll_back_savepoint(session: Session) -> None:
    savepoint = session.begin_nested()
    session.add(Plain(note="never seen"))
    savepoint.rollback()


def _use_driver(session: Session) -> None:
    session.connection().connection.cursor().execute("SELECT 1")


def _set_tenant(session: Session) -> None:
    session.execute(text("SELECT set_config('app.tenant', 'mine', true)"))


def _tell_tenant(session: Session) -> None:
    tenant = session.scalar(text("SELECT coalesce(current_setting('app.tenant', true), '')"))
    session.add(Plain(note=f"tenant {tenant}"))


def _change_new(session: Session) -> None:
    for new in session.new:
        if isinstance(new, (Item, Plain)) and new.note is not None:
            new.note += f" and changed, of {len(session.new)}"


def _fail(_session: Session) -> None:
    raise BrokenError("as planned")


def _reject(_session: Session) -> None:
    raise Reject("never")


def _retry(_session: Session) -> None:
    raise Retry("not now", delay="5s")


STEPS: dict[str, Callable[[Session], None]] = {
    name.removeprefix("_"): step
    for name, step in list(globals().items())
    if name.startswith("_") and not name.startswith("__") and callable(step)
}


Records = list[list[str]]
"""The names of the steps of each record."""

TABLES = Base.metadata.sorted_tables


def run_steps(session: Session, names: list[str]) -> None:
    """Do the named steps, one after the other."""
    for name in names:
        STEPS[name](session)
