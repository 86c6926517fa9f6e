"""The seed's handler, unchanged, at least once."""

from benchmarks.contenders.streamfea_queue import contender

CONTENDER = contender("streamfea, process()", "events")
