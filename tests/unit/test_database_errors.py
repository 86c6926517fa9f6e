"""Whose fault an exception is: with psycopg's and SQLAlchemy's own exceptions."""

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy.exc import DBAPIError, OperationalError

from streamfea import Reject
from streamfea.database.connection.errors import Fault, is_refusal, reason_of, remedy_of, whose_fault


def told_by_server(sqlstate: str) -> psycopg.Error:
    """Return what psycopg raises when the server answers with that code."""
    return psycopg.errors.lookup(sqlstate)("as the server put it")


def through_sqlalchemy(error: BaseException, *, invalidated: bool = False) -> DBAPIError:
    """Return what a session raises for it."""
    wrapped = DBAPIError.instance(
        "INSERT",
        {},
        error,
        psycopg.Error,
        connection_invalidated=invalidated,
    )
    assert isinstance(wrapped, DBAPIError)
    return wrapped


def raised(error: BaseException, *, while_handling: BaseException, told: bool = False) -> BaseException:
    """Return `error` as it is when a handler raised it in an `except` block: with `from` if `told`."""
    error.__context__ = while_handling
    if told:
        error.__cause__ = while_handling
    return error


@pytest.mark.parametrize(
    ("sqlstate", "fault"),
    [
        ("08006", Fault.OUTAGE),  # connection failure
        ("28P01", Fault.OUTAGE),  # wrong password
        ("3D000", Fault.OUTAGE),  # no such database
        ("53100", Fault.OUTAGE),  # disk full
        ("53300", Fault.OUTAGE),  # too many connections
        ("58030", Fault.OUTAGE),  # I/O error
        ("25006", Fault.OUTAGE),  # read-only
        ("57P01", Fault.OUTAGE),  # shut down
        ("57P02", Fault.OUTAGE),  # crash
        ("57P03", Fault.OUTAGE),  # starting
        ("57P04", Fault.OUTAGE),  # database dropped
        ("40001", Fault.CONFLICT),  # serialization failure
        ("40P01", Fault.CONFLICT),  # deadlock
        ("23505", Fault.RECORD),  # duplicate key
        ("22001", Fault.RECORD),  # value too long
        ("42P01", Fault.RECORD),  # no such table
        ("57014", Fault.RECORD),  # its statement took too long
        ("25P02", Fault.RECORD),  # it went on after an error
        ("40002", Fault.RECORD),  # a deferred constraint
    ],
)
def test_what_the_server_says_tells_whose_fault_it_is(sqlstate: str, fault: Fault) -> None:
    error = told_by_server(sqlstate)
    assert whose_fault(error) is fault
    assert whose_fault(through_sqlalchemy(error)) is fault


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (psycopg.OperationalError("connection refused"), Fault.OUTAGE),
        (psycopg.ProgrammingError("cannot adapt type"), Fault.RECORD),
        (psycopg.DataError("cannot contain NUL"), Fault.RECORD),
        (ValueError("x"), Fault.RECORD),
        (ConnectionError("somebody else's server"), Fault.RECORD),
    ],
)
def test_what_no_server_said_is_an_outage_if_the_connection_failed(error: Exception, fault: Fault) -> None:
    assert whose_fault(error) is fault
    assert whose_fault(through_sqlalchemy(error) if isinstance(error, psycopg.Error) else error) is fault


@pytest.mark.parametrize("error", [psycopg.InterfaceError("the connection is closed"), told_by_server("XX000")])
def test_whatever_ended_the_connection_is_an_outage(error: psycopg.Error) -> None:
    assert whose_fault(through_sqlalchemy(error)) is Fault.RECORD
    assert whose_fault(through_sqlalchemy(error, invalidated=True)) is Fault.OUTAGE


@pytest.mark.parametrize("told", [True, False])
def test_what_a_handler_wraps_around_an_outage_is_looked_through(told: bool) -> None:
    outage = through_sqlalchemy(told_by_server("57P01"))
    inner = raised(KeyError("order"), while_handling=outage, told=told)
    assert whose_fault(raised(ValueError("cannot save"), while_handling=inner, told=not told)) is Fault.OUTAGE


def test_a_rejection_because_of_an_outage_is_none() -> None:
    assert whose_fault(raised(Reject("cannot save"), while_handling=told_by_server("40P01"))) is Fault.CONFLICT


def test_the_cause_that_a_handler_names_comes_before_what_happened_meanwhile() -> None:
    error = raised(ValueError(), while_handling=told_by_server("57P01"))
    error.__cause__ = told_by_server("23505")
    assert whose_fault(error) is Fault.RECORD


def test_exceptions_that_name_each_other_as_their_cause_come_to_an_end() -> None:
    one, other = ValueError(), KeyError()
    one.__cause__, other.__cause__ = other, one
    assert whose_fault(one) is Fault.RECORD


def test_an_error_of_sqlalchemy_alone_is_the_records() -> None:
    assert whose_fault(sqlalchemy.exc.InvalidRequestError("this session is closed")) is Fault.RECORD


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ('password authentication failed for user "a"', "check database.url and its password"),
        ("server does not support SSL", "sslmode"),
        ("certificate verify failed", "sslrootcert"),
        ("unsupported startup parameter: options", "ignore_startup_parameters"),
    ],
)
def test_of_a_refusal_the_first_line_is_told_and_what_helps(words: str, remedy: str) -> None:
    error = refused(words)
    assert is_refusal(error)
    assert reason_of(error) == f"connection failed: {words}"
    assert remedy in remedy_of(error)


def test_a_server_that_is_starting_refuses_nobody() -> None:
    assert not is_refusal(refused("the database system is starting up"))
    assert not is_refusal(psycopg.OperationalError("authentication failed"))


def refused(words: str) -> OperationalError:
    return OperationalError("connect", {}, psycopg.OperationalError(f"connection failed: {words}\nand more"))
