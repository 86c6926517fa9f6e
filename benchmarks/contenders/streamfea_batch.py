"""A handler with `process_batch()` that writes by COPY itself, at least once."""

from benchmarks.contenders.streamfea_queue import contender

CONTENDER = contender("streamfea, process_batch() with COPY", "batch")
