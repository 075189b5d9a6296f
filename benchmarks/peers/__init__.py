"""The peers, and which of them are installed."""

import importlib
from collections.abc import Iterator

from benchmarks.peers.protocol import Peer

# Module: class. Ours is first; the ratios are to it.
PEERS = {
    "ours": "Ours",
    "floor": "Floor",
    "pipeline": "Pipeline",
    "openai_agents": "OpenAIAgents",
    "llama_index": "LlamaIndex",
    "google_adk": "GoogleADK",
    "agent_framework_redis": "AgentFramework",
    "langchain": "LangChain",
}


def find_peers() -> Iterator[tuple[str, type[Peer] | ImportError]]:
    """Each peer's class, or why it cannot be imported."""
    for module, name in PEERS.items():
        try:
            found = importlib.import_module(f"benchmarks.peers.{module}")
        except ImportError as error:
            yield module, error
        else:
            yield module, getattr(found, name)
