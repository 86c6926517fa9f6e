"""Tables of every kind that rows are copied into, or must not be."""

import enum
import itertools

from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Computed,
    Connection,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    Text,
    Time,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    event,
    func,
    text,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import CIDR, DATERANGE, INET, INT4RANGE, JSONB, NUMRANGE, TIMESTAMP
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    foreign,
    mapped_column,
    relationship,
    synonym,
    validates,
)  # fmt: skip

from streamfea.model import Base as StreamfeaBase

SCHEMA = "Other Schema"


class Base(DeclarativeBase):
    """Apart from the others', so that these tables are nobody else's."""


class Late(Base):
    """Its constraint is checked by COMMIT."""

    __tablename__ = "late"
    __table_args__ = (UniqueConstraint("number", deferrable=True, initially="DEFERRED"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Reversed(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else value[::-1]


class LateKeys(Base):
    """Deferred constraints on columns whose values PostgreSQL shows in its own way, beside others."""

    __tablename__ = "late keys"
    __table_args__ = (
        *(
            UniqueConstraint(*names, deferrable=True, initially="DEFERRED")
            for names in (
                ["number"], ["words"], ["short"], ["padded"], ["turned"], ["exact"], ["key"], ["one", "other"]
            )
        ),
        CheckConstraint("number < 4", "number"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    number = mapped_column(Integer)
    words = mapped_column(Text)
    short = mapped_column(String(3))
    padded = mapped_column(CHAR(3))
    turned = mapped_column(Reversed)
    exact = mapped_column(Numeric(12, 2))
    key = mapped_column(Uuid)
    one = mapped_column(Text)
    other = mapped_column(Text)
    must = mapped_column(String, nullable=False)
    parent_id = mapped_column(ForeignKey("parent.id", deferrable=True, initially="DEFERRED"))


class Wide(Base):
    """A column of every usual type."""

    __tablename__ = "Wide Table"
    __table_args__ = (CheckConstraint("small < 100", "small"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    whole = mapped_column(Integer)
    small = mapped_column(SmallInteger)
    big = mapped_column(BigInteger, unique=True)
    words = mapped_column('quoted "name", yes', String(8))
    long_words = mapped_column(Text)
    turned = mapped_column(Reversed)
    yes = mapped_column(Boolean)
    double = mapped_column(Double)
    narrow = mapped_column(Float(24))
    exact = mapped_column(Numeric(12, 3))
    at = mapped_column(DateTime(timezone=True))
    local = mapped_column(DateTime)
    rounded = mapped_column(TIMESTAMP(timezone=True, precision=3))
    day = mapped_column(Date)
    hour = mapped_column(Time)
    lasts = mapped_column(Interval)
    anything = mapped_column(JSON)
    indexed = mapped_column(JSONB(none_as_null=True))
    key = mapped_column(Uuid)
    raw = mapped_column(LargeBinary)
    colour = mapped_column(Enum(Colour))
    numbers = mapped_column(ARRAY(Integer))
    texts = mapped_column(ARRAY(String))
    doubles = mapped_column(ARRAY(Double))
    address = mapped_column(INET)
    network = mapped_column(CIDR)
    span = mapped_column(INT4RANGE)
    costs = mapped_column(NUMRANGE)
    days = mapped_column(DATERANGE)
    prices = mapped_column(ARRAY(Numeric(12, 3)))
    moments = mapped_column(ARRAY(DateTime(timezone=True)))
    must = mapped_column(String, nullable=False, default="given")
    counted = mapped_column(Integer, default=itertools.count().__next__)
    by_server = mapped_column(String, server_default=text("'server'"))
    by_sql = mapped_column(String, default=func.lower("SQL"))


class Parent(Base):
    __tablename__ = "parent"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    children: Mapped[list["Child"]] = relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "child"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("parent.id"))
    parent: Mapped[Parent | None] = relationship(back_populates="children")


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}


class Versioned(Base):
    __tablename__ = "versioned"
    id: Mapped[int] = mapped_column(primary_key=True)
    version = mapped_column(Integer, nullable=False)
    __mapper_args__ = {"version_id_col": version}


class Listened(Base):
    __tablename__ = "listened"
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]


@event.listens_for(Listened, "before_insert")
def _mark(_mapper: object, _connection: Connection, instance: Listened) -> None:
    instance.note = f"heard {instance.note}"


class Validated(StreamfeaBase):
    __tablename__ = "validated"
    metadata = Base.metadata
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    doubled: Mapped[str | None]
    title = synonym("name")
    length = column_property(func.length("name"))

    @validates("name")
    def shout(self, _key: str, name: str) -> str:
        self.doubled = name * 2
        return name.upper()


class Elsewhere(Base):
    __tablename__ = "Else Where"
    __table_args__ = {"schema": SCHEMA}
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str]


class Namesake(Base):
    """Has the name of another table, in another schema."""

    __tablename__ = "Else Where"
    __table_args__ = (CheckConstraint("name <> 'bad'", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Numbered(Base):
    """Has a name in which there is a number already."""

    __tablename__ = "table, 1"
    __table_args__ = (CheckConstraint("number > 0", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Soon(Base):
    """One constraint is checked when a statement ends, another by COMMIT."""

    __tablename__ = "soon"
    __table_args__ = (UniqueConstraint("code", deferrable=True, initially="IMMEDIATE"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[int]
    parent_id = mapped_column(ForeignKey("parent.id", deferrable=True, initially="DEFERRED"))


class Zoo(Base):
    __tablename__ = "zoo"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[int] = mapped_column(unique=True)


class Cage(Base):
    """Refers to a zoo in the database only, or SQLAlchemy could tell the order of the tables from it."""

    __tablename__ = "cage"
    id: Mapped[int] = mapped_column(primary_key=True)
    zoo_code: Mapped[int]
    zoo: Mapped[Zoo] = relationship(primaryjoin=lambda: foreign(Cage.zoo_code) == Zoo.code)


class Percent(Base):
    __tablename__ = "percent"
    __table_args__ = (UniqueConstraint("humidity %", name="one % only", deferrable=True, initially="DEFERRED"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    humidity: Mapped[int] = mapped_column("humidity %")
    doubled: Mapped[int | None] = mapped_column(Computed('"humidity %" * 2', persisted=True))


class Natural(Base):
    """Has a key of its own instead of a number from the server."""

    __tablename__ = "natural"
    code: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, default=1)
    title: Mapped[str | None]


class Ruled(Base):
    __tablename__ = "ruled"
    id: Mapped[int] = mapped_column(primary_key=True)
