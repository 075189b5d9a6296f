"""The options and arguments that commands share, and how their words are read."""

from typing import Annotated

import typer

OPERATOR_VARIABLE = "CHAT_SESSION_OPERATOR"

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The store: redis://host:6379/0, redis+sentinel://…, redis+cluster://…, unix:///path.sock, "
        "sqlite:///file.db. "
        "Left out: CHAT_SESSION_URL or REDIS_* of the environment and .env.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", show_default=False)]
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user's id.", show_default=False)]
OperatorId = Annotated[
    str,
    typer.Option(
        "--operator",
        metavar="NAME",
        envvar=OPERATOR_VARIABLE,
        help=f"The operator who does it. Left out: {OPERATOR_VARIABLE} of the environment.",
        show_default=False,
        show_envvar=False,
    ),
]
Note = Annotated[
    str | None, typer.Option(metavar="TEXT", help="For the others at the desk and the AI. No customer reads it.")
]
Ttl = Annotated[
    str | None,
    typer.Option(metavar="SECONDS|never", help="How long a session lives. Left out: DEFAULT_SESSION_TTL."),
]
Trim = Annotated[bool, typer.Option("--trim", help="Keep the newest MAX_MESSAGE_HISTORY messages of a longer session.")]
Prefix = Annotated[str | None, typer.Option(metavar="PREFIX", help="Of its keys. Left out: KEY_PREFIX.")]
Layout = Annotated[
    str | None,
    typer.Option(metavar="plain|tagged", help="Of its keys. Left out: KEY_LAYOUT; unset: tagged on a cluster."),
]


def read_ttl(text: str) -> int | None:
    """Whole seconds; None for the word "never". Raises the usage error."""
    if text == "never":
        return None
    number = read_number(text)
    if number is None:
        raise typer.BadParameter(f"A ttl is a whole number of seconds or 'never', not {text[:60]!r}")
    return number


def read_number(text: str) -> int | None:
    """The number that plain digits are, else None. 18 digits are more than any count here may have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None  # noqa: PLR2004 - said above
