"""What stops a handler in the middle of its record.

Neither is an `Exception`, so that a handler's `except Exception` does not hide it.
"""

__all__ = ["OwnTransactionRequired", "StartAgain"]


class OwnTransactionRequired(BaseException):
    """Stops a handler that would end or leave a transaction with others' writes in it."""


class StartAgain(BaseException):
    """Stops a handler that asks for the database when its batch has to start again first."""
