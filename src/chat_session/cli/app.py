"""The commands by their names, and what becomes of their errors."""

from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from typer.main import get_command

from chat_session import __version__
from chat_session.cli.cleanup import cleanup
from chat_session.cli.demo import demo
from chat_session.cli.desk import desk
from chat_session.cli.doctor import doctor
from chat_session.cli.erasing import erase_user
from chat_session.cli.failures import USAGE, report, say_failure
from chat_session.cli.handoffs import answer, hand_back, take, transfer
from chat_session.cli.messages import clear, history, retract, say, switch
from chat_session.cli.migrating import migrate
from chat_session.cli.output import OUT, replace_what_cannot_be_shown, warnings_shown
from chat_session.cli.sessions import count, create, delete, extend, list_sessions, show, ttl, update
from chat_session.cli.transfer import export, import_
from chat_session.cli.turns import pending, stop_turn
from chat_session.cli.watching import watch
from chat_session.errors import ChatSessionError

NAME = "chat-session"

_EPILOG = """Exit codes: 0 done; 1 something was found or failed in part; 2 usage, invalid input or settings;
3 no such session; 4 conflict; 5 the store failed; 130 and 143 after SIGINT and SIGTERM."""

app = typer.Typer(
    name=NAME,
    epilog=_EPILOG,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS: dict[str, Callable[..., int]] = {
    "demo": demo,
    "create": create,
    "show": show,
    "history": history,
    "watch": watch,
    "say": say,
    "retract": retract,
    "clear": clear,
    "switch": switch,
    "desk": desk,
    "take": take,
    "answer": answer,
    "hand-back": hand_back,
    "transfer": transfer,
    "pending": pending,
    "stop-turn": stop_turn,
    "ttl": ttl,
    "extend": extend,
    "update": update,
    "delete": delete,
    "erase-user": erase_user,
    "list": list_sessions,
    "count": count,
    "cleanup": cleanup,
    "import": import_,
    "export": export,
    "migrate": migrate,
    "doctor": doctor,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)

# Every mistake in the arguments; Typer shows only this one of its kin.
_MISUSE: type[BaseException] = typer.BadParameter.mro()[1]


def _print_version(asked: bool) -> None:
    if asked:
        OUT.print(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chat_session(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Sessions of a chat application in Redis, Valkey or SQLite: look at them, change them, move them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(USAGE)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Whatever the user can cause is said in a line or two on stderr."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    json = "--json" in options  # read here too, for the errors that come before the options are read
    replace_what_cannot_be_shown()
    try:
        with warnings_shown(json=json):
            exit_code: int = get_command(app).main(list(arguments), prog_name=NAME, standalone_mode=False)
    except (ChatSessionError, OSError) as error:
        return report(error, json=json)
    except _MISUSE as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else NAME
        text = getattr(error, "format_message", error.__str__)()
        say_failure(text, "usage", advice=f"see '{path} --help'", json=json)
        return USAGE
    return exit_code
