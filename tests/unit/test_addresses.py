"""Addresses to listen on, as people write them."""

import pytest

from streamfea.config.addresses import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9090", "127.0.0.1", 9090),
        (":9090", "", 9090),
        ("[::1]:1", "::1", 1),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == (host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize("text", ["9090", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "x:65536", "x:-1", 9090])
def test_anything_else_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is HOST:PORT, as in 127\.0\.0\.1:9090"):
        Address.parse(text)
