"""A machine that tries to break every guarantee at once: `just faults`.

Producers, consumers and operators work on real servers while faults are injected; what became of every record is
then held against what was promised. Everything random follows from one seed.
"""
