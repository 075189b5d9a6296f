"""Google ADK: a session service whose sessions a person can take over. Needs ``chat-session[adk]``."""

from chat_session.adapters.extras import needs

with needs("adk", "google.adk"):
    from chat_session.adapters.adk.service import ManagedSessionService as ManagedSessionService

__all__ = ["ManagedSessionService"]
