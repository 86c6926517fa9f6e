"""A handler that inserts by Core."""

from tests.support.core_inserts import writes_to

process = writes_to("cored")
