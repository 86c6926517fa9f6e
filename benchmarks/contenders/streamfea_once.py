"""The seed's handler, unchanged, exactly once."""

from benchmarks.contenders.streamfea_queue import contender

CONTENDER = contender("streamfea, process(), exactly-once", "once")
