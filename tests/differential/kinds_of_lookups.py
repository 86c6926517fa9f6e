"""Handlers that look something up, and add."""

from typing import Any

from sqlalchemy import ForeignKey, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.differential.ways import Kind

__all__ = ["KINDS"]


class Base(DeclarativeBase):
    pass


class Device(Base):
    __tablename__ = "device"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    place: Mapped[str | None]


class Reading(Base):
    __tablename__ = "reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[int] = mapped_column(ForeignKey(Device.id))
    note: Mapped[str | None]
    device: Mapped[Device] = relationship(lazy="joined")


class Total(Base):
    __tablename__ = "total"
    id: Mapped[int] = mapped_column(primary_key=True)
    readings: Mapped[list["Part"]] = relationship(lazy="selectin")


class Part(Base):
    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    total_id: Mapped[int] = mapped_column(ForeignKey(Total.id))


def _device(session: Session, number: int) -> Device:
    """Find the device of a record, or make it."""
    code = f"d{number % 3}"
    device = session.scalars(select(Device).where(Device.code == code)).one_or_none()
    if device is None:
        device = Device(code=code, place=str(number))
        session.add(device)
        session.flush()
    return device


def _find_or_make(session: Session, number: int) -> None:
    session.add(Reading(device_id=_device(session, number).id, note=str(number)))


def _make_once(session: Session, number: int) -> None:
    code = f"d{number // 2}"
    if session.scalars(select(Device).where(Device.code == code)).one_or_none() is None:
        session.add(Device(code=code, place=str(number)))


def _make_once_by_two(session: Session, number: int) -> None:
    """What has another place is another device, says the query, and not so says the key."""
    code, place = f"d{number // 2}", str(number % 2)
    found = session.scalar(select(Device.id).where(Device.code == code, Device.place == place))
    if found is None:
        session.add(Device(code=code, place=place))


def _make_by_any_case(session: Session, number: int) -> None:
    code = "Dd"[number % 2] + str(number // 2)
    if session.scalar(select(Device.id).where(func.lower(Device.code) == code.lower())) is None:
        session.add(Device(code=code))


def _make_without_place(session: Session, number: int) -> None:
    found = session.scalar(select(func.count(Device.id)).where(Device.place == str(number - 1)))
    session.add(Device(code=f"{number} {found}", place=None if number % 2 else str(number)))


def _get(session: Session, number: int) -> None:
    found = session.get(Device, number - 1)
    session.add(Device(id=number, code=f"{number} {found and found.code[:1]}"))


def _count_others(session: Session, number: int) -> None:
    session.add(Device(code=f"{number} {session.scalar(select(func.count()).select_from(Device))}"))


def _look_into_function(session: Session, number: int) -> None:
    session.add(Device(code=f"{number} {session.scalar(select(func.devices()))}"))


def _look_into_view(session: Session, number: int) -> None:
    session.add(Device(code=f"{number} {session.scalar(select(func.count()).select_from(_VIEW))}"))


def _look_by_exists(session: Session, number: int) -> None:
    is_there = session.scalar(select(exists().where(Device.code.like("1%"))))
    session.add(Device(code=f"{number} {is_there}"))


def _join(session: Session, number: int) -> None:
    device = Device(code=f"d{number}", place=str(number))
    session.add(device)
    session.flush()
    session.add(Reading(device_id=device.id))
    last = session.scalars(select(Reading).where(Reading.id == number - 1)).one_or_none()
    session.add(Reading(device_id=device.id, note=last and last.device.place))


def _load_parts(session: Session, number: int) -> None:
    if number == 1:
        session.add(Total(id=1))
        return
    parts = len(session.scalars(select(Total)).one().readings)
    session.add(Part(id=number * 10 + parts, total_id=1))


def _count_then_make(session: Session, number: int) -> None:
    """Every few records, all that waits is written, and others take its place."""
    if number % 4 == 0:
        session.scalar(select(func.count(Device.id)))
    _make_once(session, number)
    session.add(Device(code=f"by {number}"))


def _lock(session: Session, number: int) -> None:
    found = session.scalars(select(Device).where(Device.code == f"d{number - 1}").with_for_update()).one_or_none()
    session.add(Device(code=f"d{number}", place=found and found.code))


def _upsert_then_look(session: Session, number: int) -> None:
    session.execute(_MAKE, {"code": f"d{number % 2}", "place": str(number)})
    session.add(Total(id=number * 10 + len(session.scalar(select(Device.place).where(Device.code == "d1")) or "")))


def _look_and_raise(session: Session, number: int) -> None:
    _make_once(session, number)
    if number % 4 == 2:
        raise ValueError("no")


def _add_doubles_and_look(session: Session, number: int) -> None:
    """What fails of earlier records is not there for those that look at something else, and at the same."""
    session.add(Device(code=f"d{number // 2}"))
    session.scalar(select(Total.id).where(Total.id == number))


_VIEW: Any = select(Device.__table__).subquery()
_MAKE = insert(Device).on_conflict_do_update(index_elements=["code"], set_={"place": insert(Device).excluded.place})
_FUNCTION = ["CREATE FUNCTION devices() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM device'"]

_CODES = "SELECT code, place FROM device ORDER BY id"
KINDS = [
    Kind("finds or makes, and refers to it", _find_or_make,
         "SELECT code, place, array_agg(note ORDER BY r.id) FROM device d JOIN reading r ON d.id = device_id "
         "GROUP BY 1, 2 ORDER BY 1", [("d0", "3", ["3", "6"]), ("d1", "1", ["1", "4", "7"]), ("d2", "2", ["2", "5"])],
         Base.metadata, records=7),
    Kind("makes what is not there", _make_once, _CODES, [("d0", "1"), ("d1", "2"), ("d2", "4"), ("d3", "6")],
         Base.metadata, records=7),
    Kind("looks by two columns", _make_once_by_two, _CODES, [("d0", "1"), ("d1", "0"), ("d2", "0"), ("d3", "0")],
         Base.metadata, frozenset({3, 5, 7}), records=7),
    Kind("looks in any case", _make_by_any_case, "SELECT code FROM device ORDER BY id",
         [("d0",), ("D1",), ("D2",), ("D3",)], Base.metadata, records=7),
    Kind("looks for what is NULL in some", _make_without_place, "SELECT code FROM device ORDER BY id",
         [("1 0",), ("2 0",), ("3 1",), ("4 0",), ("5 1",)], Base.metadata, records=5),
    Kind("gets by key", _get, "SELECT code FROM device ORDER BY id", [("1 None",), ("2 1",), ("3 2",), ("4 3",)],
         Base.metadata),
    Kind("counts the table", _count_others, "SELECT code FROM device ORDER BY id",
         [(f"{n} {n - 1}",) for n in range(1, 5)], Base.metadata),
    Kind("calls a function that counts", _look_into_function, "SELECT code FROM device ORDER BY id",
         [(f"{n} {n - 1}",) for n in range(1, 5)], Base.metadata, ddl=_FUNCTION),
    Kind("looks into a subquery", _look_into_view, "SELECT code FROM device ORDER BY id",
         [(f"{n} {n - 1}",) for n in range(1, 5)], Base.metadata),
    Kind("asks whether there is any", _look_by_exists, "SELECT code FROM device ORDER BY id",
         [("1 False",), ("2 True",), ("3 True",), ("4 True",)], Base.metadata),
    Kind("loads by a join", _join, "SELECT note FROM reading ORDER BY id",
         [(None,), (None,), (None,), ("1",), (None,), ("1",), (None,), ("2",)], Base.metadata),
    Kind("loads what refers to it", _load_parts, "SELECT id FROM part ORDER BY id",
         [(20,), (31,), (42,)], Base.metadata),
    Kind("locks what it looks up", _lock, _CODES, [("d1", None), ("d2", "d1"), ("d3", "d2"), ("d4", "d3")],
         Base.metadata),
    Kind("upserts, and looks at another", _upsert_then_look, "SELECT id FROM total ORDER BY id",
         [(11,), (21,), (31,), (41,)], Base.metadata),
    Kind("makes what is not there between counts", _count_then_make,
         "SELECT code FROM device WHERE code NOT LIKE 'by%' ORDER BY id", [(f"d{n}",) for n in range(11)],
         Base.metadata, records=21),
    Kind("looks up, adds and raises", _look_and_raise, _CODES, [("d0", "1"), ("d1", "3"), ("d2", "4"), ("d3", "7")],
         Base.metadata, frozenset({2, 6}), records=7),
    Kind("adds doubles, and looks elsewhere", _add_doubles_and_look, "SELECT code FROM device ORDER BY code",
         [("d0",), ("d1",), ("d2",), ("d3",)], Base.metadata, frozenset({3, 5, 7}), records=7),
]  # fmt: skip
