"""A process of its own that removes what dead sessions leave in the indexes.

python examples/cleanup_service.py

It cleans once at the start, then at every CLEANUP_INTERVAL seconds (3600), and ends on SIGTERM or
Ctrl+C after the run in progress. Several of them may run: each dead session is counted once. A store
that is away is logged and tried again at the next run.
"""

import asyncio
import logging
import os
import signal

from chat_session import SessionCleanup, SessionManager, StoreError


async def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    stopping = asyncio.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, stopping.set)
    url = os.environ.get("CHAT_SESSION_URL") or "sqlite:///:memory:"
    async with SessionManager.from_url(url) as manager, SessionCleanup(manager) as cleanup:
        try:
            await cleanup.cleanup()
        except StoreError as error:
            logging.getLogger("cleanup_service").warning("first run failed: %s", error)
        status = cleanup.get_status()
        print(f"running every {status.interval:g} s, next at {status.next_cleanup:%H:%M:%S} UTC", flush=True)
        await stopping.wait()
    print("stopped")


asyncio.run(main())
