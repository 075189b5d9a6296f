"""The command doctor: what endangers the sessions of a store."""

from typing import Annotated

import typer
from rich.text import Text

from chat_session.cli.failures import PARTLY
from chat_session.cli.opening import describe_store, run_on_store
from chat_session.cli.options import Json, Url
from chat_session.cli.output import Output, visible
from chat_session.cli.tables import make_table
from chat_session.inspector import Inspector
from chat_session.manager import SessionManager

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    url: Url = None,
    json: Json = False,
) -> int:
    """Look for what endangers the sessions of a store.

    Settings of the server, and data that is inconsistent; it may read every key. Exit code 1 if an error was
    found and not repaired.
    """

    async def work(manager: SessionManager) -> int:
        output = Output(json)
        connection = describe_store(manager.settings)
        output.tell(visible(f"store: {connection}"))
        findings = await Inspector(manager).diagnose(repair=repair)
        table = make_table("level", "subject", "finding", "--repair")
        for finding in findings:
            level = Text(finding.level, _STYLES.get(finding.level, ""))
            table.add_row(level, visible(finding.subject), visible(finding.text), visible(finding.repair or ""))
        document = {"url": connection, "findings": [finding._asdict() for finding in findings]}
        output.answer(document, table)
        return PARTLY if any(finding.level == "error" for finding in findings) else 0

    return run_on_store(url, work)
