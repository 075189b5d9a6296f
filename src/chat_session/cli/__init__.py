"""The command ``chat-session``. Needs ``pip install 'chat-session[cli]'``.

Exit codes, for scripts:

    0        done
    1        something was found or failed in part: doctor found errors, an import had bad lines, a
             session to delete was not there, nobody waits for an operator, a file could not be read or
             written
    2        usage, invalid input or settings; nothing was done
    3        no such session
    4        conflict: the session exists, the agent was switched, another operator has it, the operator
             has enough sessions, a message id has other content
    5        the store failed
    130/143  ended by SIGINT or SIGTERM, after closing the store; cleanup --every ends with 0 on SIGTERM
"""

import sys
from collections.abc import Sequence

_EXTRA = ("typer", "rich")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, ``sys.argv``'s if none is given; its exit code."""
    try:
        from chat_session.cli.app import run_command  # noqa: PLC0415 - what it needs may not be installed
    except KeyboardInterrupt:  # loading takes a third of a second, time enough to change one's mind
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print("The command line is not installed. Install it with: pip install 'chat-session[cli]'", file=sys.stderr)  # noqa: T201 - it
        return 2
    return run_command(sys.argv[1:] if arguments is None else arguments)
