"""The example of a bot that streams its replies."""

import pytest

from testkit.backends import StartBackend
from testkit.examples import run_example

BOT_PRINTS = """\
What the customer sees:
  user: Two cups arrived broken. I want my money back.
  bot: I am sorry to hear that. I can offer you a voucher ... (broken off: taken_over)
  operator: This is Mei. You have your money back today.
  (the bot answers again)
  user: Thank you! Do you still sell these cups?
  bot: Yes, in white and in blue.

What is stored (* is internal):
  user: Two cups arrived broken. I want my money back.
* system: Operator Mei took over the session.
  Mei: This is Mei. You have your money back today.
* system: Operator Mei handed the session back to the AI after less than a minute. Note: Both cups were refunded.
  user: Thank you! Do you still sell these cups?
  assistant: Yes, in white and in blue.
"""


def test_an_operator_breaks_off_a_reply_that_a_worker_streams_on_a_file() -> None:
    assert run_example("support_bot.py") == BOT_PRINTS


@pytest.mark.parametrize("name", ["redis", "cluster"])
def test_an_operator_breaks_off_a_reply_on_a_server_and_on_a_cluster(start_empty: StartBackend, name: str) -> None:
    assert run_example("support_bot.py", start_empty(name).url, may_warn=True) == BOT_PRINTS
