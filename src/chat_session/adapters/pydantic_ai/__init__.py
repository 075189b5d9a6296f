"""pydantic-ai on chat-session: a durable ``ConversationStore``."""

from chat_session.adapters.extras import needs

with needs("pydantic-ai", "pydantic_ai"):
    from chat_session.adapters.pydantic_ai.store import ManagedConversationStore as ManagedConversationStore
