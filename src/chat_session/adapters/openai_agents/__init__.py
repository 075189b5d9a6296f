"""Sessions of the OpenAI Agents SDK. Install the extra ``openai-agents``.

from chat_session.adapters.openai_agents import ManagedSession

session = ManagedSession("visitor-42", manager)
await Runner.run(agent, "Hello", session=session)
"""

from chat_session.adapters.extras import needs

with needs("openai-agents", "agents"):
    from chat_session.adapters.openai_agents.items import FORMAT as FORMAT
    from chat_session.adapters.openai_agents.session import ManagedSession as ManagedSession
