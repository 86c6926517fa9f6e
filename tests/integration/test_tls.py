"""TLS to both servers: verified unless told otherwise, and a certificate that is refused is told in a sentence."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
import trustme
from redis.exceptions import RedisError
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from streamfea.config.sections import DatabaseSettings, RedisSettings
from streamfea.database.connection.engine import open_database
from streamfea.streams.connection.client import open_redis
from streamfea.streams.connection.errors import must_stop, told
from tests.support.commands import Project
from tests.support.tls import tls_proxy

_YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Pki:
    """A CA, and contexts of servers that it has given certificates to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))

    def server(self, host: str = "localhost", *, expired: bool = False, asks: bool = False) -> ssl.SSLContext:
        """Return the context of a server that is called `host`; one that `asks` wants clients' certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        before = _YESTERDAY - timedelta(days=1) if expired else None
        self.ca.issue_cert(host, not_before=before, not_after=_YESTERDAY if expired else None).configure_cert(context)
        if asks:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_files(self) -> tuple[Path, Path]:
        """Return the files of a client's certificate and key."""
        issued = self.ca.issue_cert("client")
        certificate, key = self._folder / "client.pem", self._folder / "client.key"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def redis_socket(redis_url: str) -> Path:
    if not redis_url.startswith("unix://"):
        pytest.fail("this test needs a Redis with a unix socket: unset STREAMFEA_TEST_REDIS_URL")
    return Path(unquote(redis_url.removeprefix("unix://")))


@pytest.fixture
def postgresql_socket(postgresql_url: str) -> Path:
    host = make_url(postgresql_url).query["host"]
    assert isinstance(host, str)
    return Path(host) / ".s.PGSQL.5432"


def test_redis_is_reached_through_tls_with_its_ca(redis_socket: Path, pki: Pki) -> None:
    with tls_proxy(redis_socket, pki.server()) as port, open_redis(_redis(port, tls_ca_file=pki.ca_file)) as client:
        assert client.ping()


@pytest.mark.parametrize(
    ("host", "expired", "trusted", "reason"),
    [
        ("elsewhere.example", False, True, "certificate is not valid for 'localhost'"),
        ("localhost", True, True, "certificate has expired"),
        ("localhost", False, False, "unable to get local issuer certificate"),
    ],
)
def test_a_redis_with_a_wrong_certificate_is_refused_and_told(
    redis_socket: Path, pki: Pki, host: str, expired: bool, trusted: bool, reason: str
) -> None:
    ca_file = pki.ca_file if trusted else None
    with (
        tls_proxy(redis_socket, pki.server(host, expired=expired)) as port,
        open_redis(_redis(port, tls_ca_file=ca_file)) as client,
        pytest.raises(RedisError) as refused,
    ):
        client.ping()
    assert must_stop(refused.value)
    assert told(refused.value).startswith("the server's certificate is refused: ")
    assert reason in told(refused.value)
    assert "tls_ca_file" in told(refused.value)


def test_consume_stops_with_a_sentence(
    redis_socket: Path, pki: Pki, tmp_path: Path, database_url: str, project: Project
) -> None:
    with tls_proxy(redis_socket, pki.server(expired=True)) as port:
        secured = Project(tmp_path / "secured", f"rediss://localhost:{port}", database_url, project.stream)
        secured.configure_servers(redis={"tls_ca_file": str(pki.ca_file)})
        told = secured.run("consume", expect=2, timeout=40)
        asked = secured.run("status", expect=2)
    assert told.splitlines()[-1].startswith("Error: redis, queue q: the server's certificate is refused: ")
    assert asked.startswith("Error: Redis: the server's certificate is refused: ")


def test_redis_is_shown_our_certificate_if_there_is_one(redis_socket: Path, pki: Pki) -> None:
    certificate, key = pki.client_files()
    with tls_proxy(redis_socket, pki.server(asks=True)) as port:
        known = _redis(port, tls_ca_file=pki.ca_file, tls_cert_file=certificate, tls_key_file=key)
        with open_redis(known) as client:
            assert client.ping()
        # That TLS 1.3 refuses us shows only when we write or read.
        with open_redis(_redis(port, tls_ca_file=pki.ca_file)) as client, pytest.raises(RedisError):
            client.ping()


def test_files_that_are_no_certificates_or_do_not_fit_are_told(redis_socket: Path, pki: Pki, tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    certificate, key = pki.client_files()
    with tls_proxy(redis_socket, pki.server()) as port:
        for settings in (
            _redis(port, tls_ca_file=rubbish),
            _redis(port, tls_ca_file=pki.ca_file, tls_cert_file=rubbish, tls_key_file=key),
            _redis(port, tls_ca_file=pki.ca_file, tls_cert_file=certificate, tls_key_file=rubbish),
        ):
            with open_redis(settings) as client, pytest.raises(RedisError) as refused:
                client.ping()
            assert must_stop(refused.value)
            assert told(refused.value).startswith("a certificate or key of ours cannot be used: ")


def test_postgresql_is_reached_through_tls_and_verified_as_asked(postgresql_socket: Path, pki: Pki) -> None:
    with tls_proxy(postgresql_socket, pki.server(), postgresql=True) as port:
        engine = open_database(_database(port, sslmode="verify-full", sslrootcert=str(pki.ca_file)))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        engine.dispose()


@pytest.mark.parametrize(
    ("host", "expired", "reason"),
    [("elsewhere.example", False, 'does not match host name "localhost"'), ("localhost", True, "certificate")],
)
def test_a_postgresql_with_a_wrong_certificate_is_refused(
    postgresql_socket: Path, pki: Pki, host: str, expired: bool, reason: str
) -> None:
    with tls_proxy(postgresql_socket, pki.server(host, expired=expired), postgresql=True) as port:
        engine = open_database(_database(port, sslmode="verify-full", sslrootcert=str(pki.ca_file)))
        with pytest.raises(OperationalError, match=reason):
            engine.connect()


def test_consume_stops_when_postgresql_has_no_tls_that_is_asked_for(
    postgresql_socket: Path, tmp_path: Path, redis_url: str, name: str
) -> None:
    with tls_proxy(postgresql_socket, None) as port:
        project = Project(tmp_path, redis_url, f"postgresql+psycopg://postgres@localhost:{port}/postgres", name)
        project.configure_servers(database={"connect_args": {"sslmode": "verify-full"}})
        told = project.run("consume", expect=2, timeout=40)
    assert "check database.url, and sslmode and sslrootcert in database.connect_args" in " ".join(told.split())


def _redis(port: int, **files: Path | None) -> RedisSettings:
    return RedisSettings.model_validate({"url": f"rediss://localhost:{port}/0", **files})


def _database(port: int, **arguments: str) -> DatabaseSettings:
    url = f"postgresql+psycopg://postgres@localhost:{port}/postgres"
    return DatabaseSettings.model_validate({"url": url, "connect_args": arguments})
