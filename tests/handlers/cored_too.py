"""Another, in a table of its own."""

from tests.support.core_inserts import writes_to

process = writes_to("cored_too")
