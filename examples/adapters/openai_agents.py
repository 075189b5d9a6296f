"""A session of the OpenAI Agents SDK that a person takes over in the middle of a run.

    pip install 'chat-session[openai-agents]'
    python examples/adapters/openai_agents.py

It needs no network and no key: the model answers from a script. Replace it by the name of a real one.
"""

import asyncio

from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from chat_session import AgentConflict, SessionManager
from chat_session.adapters.openai_agents import ManagedSession

OFFLINE = RunConfig(tracing_disabled=True)


@function_tool
def order_status(number: str) -> str:
    """Where an order is."""
    return f"Order {number} is on its way"


async def main() -> None:
    async with SessionManager.from_url("sqlite:///:memory:") as manager:

        async def anna_takes_over(_: ModelCall) -> ModelStep:
            await manager.switch_agent("visitor-42", "human", note="Anna has joined")
            return ModelStep(output=[assistant_message("I cannot help you with that.")])

        model = ScriptedModel(
            [
                [function_call("order_status", {"number": "7"}, call_id="call_1")],
                [assistant_message("It is on its way.")],
                ModelStep.respond(anna_takes_over),
            ]
        )
        agent = Agent(name="support", model=model, tools=[order_status])
        session = ManagedSession("visitor-42", manager, user_id="visitor")  # the one line that changes

        await Runner.run(agent, "Where is order 7?", session=session, run_config=OFFLINE)
        try:
            await Runner.run(agent, "I want my money back!", session=session, run_config=OFFLINE)
        except AgentConflict as conflict:
            await manager.add_unanswered(conflict)  # what tools did; the reply of the AI is dropped
        await manager.add_message("visitor-42", {"from": "operator", "text": "Anna here. You get it back."})

        for message in await manager.get_history("visitor-42"):
            print(f"{message.sender}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
