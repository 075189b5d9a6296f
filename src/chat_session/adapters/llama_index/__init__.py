"""LlamaIndex on chat-session: a chat store for ``Memory``, and one for the old synchronous interface."""

from chat_session.adapters.extras import needs

with needs("llama-index", "llama_index.core"):
    from chat_session.adapters.llama_index.store import ManagedChatStore as ManagedChatStore
    from chat_session.adapters.llama_index.sync_store import ManagedSyncChatStore as ManagedSyncChatStore
