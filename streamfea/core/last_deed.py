"""Tells whether a call is the last thing that its caller does."""

import dis
from functools import lru_cache
from types import CodeType, FrameType

__all__ = ["is_last_deed"]

# What may lie between a call and the end of its function; all else is more than to return.
_IDLE = {"CACHE", "NOP", "NOT_TAKEN", "POP_TOP", "LOAD_CONST", "LOAD_SMALL_INT"}
_RETURNS = {"RETURN_VALUE", "RETURN_CONST"}
_JUMPS = {"JUMP_FORWARD"}


def is_last_deed(frame: FrameType | None, package: str) -> bool:
    """Tell whether the call that `frame` waits for is its last, and so on up to a function of the `package`."""
    while frame is not None and not f"{frame.f_globals.get('__name__')}.".startswith(f"{package}."):
        if not _returns_after(frame.f_code, frame.f_lasti):
            return False
        frame = frame.f_back
    return frame is not None


@lru_cache(maxsize=1_000)
def _returns_after(code: CodeType, call: int) -> bool:
    """Tell whether nothing follows the instruction at `call` but the return."""
    instructions = list(dis.get_instructions(code))
    places = {instruction.offset: place for place, instruction in enumerate(instructions)}
    place = next(place for offset, place in places.items() if offset > call)
    while place < len(instructions):
        instruction = instructions[place]
        if instruction.opname in _RETURNS:
            return True
        if instruction.opname in _JUMPS:
            place = places[instruction.argval]
        elif instruction.opname in _IDLE:
            place += 1
        else:
            return False
    return False
