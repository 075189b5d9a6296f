"""``python -m chat_session`` is the command ``chat-session``."""

import sys

from chat_session.cli import main

sys.exit(main())
