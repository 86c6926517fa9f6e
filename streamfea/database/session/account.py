"""Records what the running record has done to its transaction."""

from enum import IntEnum

from sqlalchemy.exc import IntegrityError

__all__ = ["Account", "Effect"]


class Effect(IntEnum):
    """The worst that a record has done to its transaction."""

    NONE = 0
    """PostgreSQL was sent nothing for it."""

    SQL = 1
    """A statement was sent, or may have been: only a rollback undoes the record."""

    SPOILED = 2
    """The transaction is not what it was: rolled back beneath the session, or earlier rows could not be written."""

    LEFT = 3
    """The record wanted to end the transaction, or to leave it, while other records' work is in it."""


class Account:
    """The account of one record; `begin()` opens the next."""

    __slots__ = ("effect", "refused")

    def __init__(self) -> None:
        self.effect = Effect.NONE
        # The last IntegrityError of a flush; a handler that swallows it has met a record that is in already.
        self.refused: IntegrityError | None = None

    def begin(self) -> None:
        """Start with a record that has done nothing."""
        self.effect = Effect.NONE

    def note(self, effect: Effect) -> None:
        """Note `effect`, unless a worse one is noted."""
        self.effect = max(self.effect, effect)
