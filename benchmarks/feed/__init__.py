"""The feed and streaming replies under load."""
