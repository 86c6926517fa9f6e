"""What streamfea promises, a page for each promise. Read them from the first to the last.

Every test starts the real command on a real Redis and a real PostgreSQL. The shop, in tests/support/shops.py, has the
handler and a few verbs: `order()` puts orders onto the stream, `consume()` works on them, `rows()` is what came of it.
"""
