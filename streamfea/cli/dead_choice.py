"""The ids and filters by which a command is told which dead letters are meant."""

from typing import Annotated

import typer

from streamfea.streams.operating.dead_letters import Reason

__all__ = ["AllOption", "CauseOption", "ErrorTypeOption", "IdsArgument", "MatchOption", "ReasonOption", "SinceOption"]

IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Dead letters, or the entries that they were.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters of the queue.")]
ReasonOption = Annotated[Reason | None, typer.Option("--reason", help="Only those of this reason.", show_default=False)]
ErrorTypeOption = Annotated[
    str | None, typer.Option("--error-type", help="Only errors of this type, as in ValueError.", show_default=False)
]
MatchOption = Annotated[
    str | None,
    typer.Option(
        "--match",
        metavar="REGEX",
        help="Only where this is found in the error, or in a field's value.",
        show_default=False,
    ),
]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Only those that died in the last 1h, say.", show_default=False)
]
CauseOption = Annotated[
    str | None,
    typer.Option("--cause", help="Only failures of this cause, as `causes` names it.", show_default=False),
]
