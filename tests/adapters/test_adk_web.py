"""ADK's own web server on the session service, named by a URI as the page on ADK shows it."""

from pathlib import Path

import pytest

pytest.importorskip("google.adk")

import httpx
from google.adk.cli.fast_api import get_fast_api_app

from chat_session import SessionManager

pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = Path(__file__).parents[2] / "docs" / "adapters" / "adk.md"
AGENT = """
from google.adk.agents import Agent
from google.adk.models import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.genai import types


class Polite(BaseLlm):
    async def generate_content_async(self, llm_request, stream=False):
        yield LlmResponse(content=types.Content(role="model", parts=[types.Part(text="Hello")]))


root_agent = Agent(name="helper", model=Polite(model="scripted"))
"""


async def test_the_web_server_of_adk_keeps_its_sessions_in_the_store(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [services] = [each for each in PAGE.read_text("utf-8").split("```python\n") if "register_session_service" in each]
    agents = tmp_path / "agents"
    (agents / "helper").mkdir(parents=True)
    (agents / "services.py").write_text(services.split("```")[0])
    (agents / "helper" / "__init__.py").write_text("from . import agent")
    (agents / "helper" / "agent.py").write_text(AGENT)
    monkeypatch.setenv("CHAT_SESSION_URL", url)
    app = get_fast_api_app(agents_dir=str(agents), session_service_uri="chat-session://", web=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        created = await client.post("/apps/helper/users/ann/sessions/s1", json={"a": 1})
        assert created.json()["state"] == {"a": 1}
        said = {"role": "user", "parts": [{"text": "Hi"}]}
        run = {"appName": "helper", "userId": "ann", "sessionId": "s1", "newMessage": said}
        assert (await client.post("/run", json=run)).status_code == 200
        [listed] = (await client.get("/apps/helper/users/ann/sessions")).json()
        assert listed["id"] == "s1"
    async with SessionManager.from_url(url) as manager:
        assert [message.text for message in await manager.get_history("helper:ann:s1")] == ["Hi", "Hello"]
