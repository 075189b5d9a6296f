"""What a person reads of a message's contents."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chat_session.adapters.projection import describe_call

Content = Mapping[str, Any]

_MARKS = {"image": "[image]", "audio": "[audio]", "video": "[video]"}


def text_of(contents: Sequence[Any]) -> str:
    """The words, as the framework joins them; where there are none, what happened. Never raises."""
    known = [content for content in contents if isinstance(content, Mapping)]
    words = [content["text"] for content in known if content.get("type") == "text" and content.get("text")]
    marks = [_mark_of(content) for content in known if content.get("type") in ("data", "uri", "hosted_file")]
    return " ".join(words + marks) or "\n".join(filter(None, map(_describe, known)))


def _mark_of(content: Content) -> str:
    kind = str(content.get("media_type") or "").partition("/")[0]
    name = content.get("name")
    return _MARKS.get(kind) or (f"[file {name}]" if isinstance(name, str) else "[file]")


def _describe(content: Content) -> str:
    describe = _KINDS.get(str(content.get("type")))
    try:
        return "" if describe is None else describe(content)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # a content of an unexpected shape
        return ""


def _text_of_call(content: Content) -> str:
    return describe_call(content.get("name") or content.get("tool_name") or "function", content.get("arguments"))


def _text_of_value(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, (list, tuple)) and any(isinstance(each, Mapping) and "type" in each for each in value):
        return text_of(value)
    return json.dumps(value, ensure_ascii=False)


def _text_of_output(content: Content) -> str:
    return "\n".join(content[name] for name in ("stdout", "stderr") if content.get(name))


def _text_of_request(content: Content) -> str:
    return _text_of_call(content["function_call"])


_KINDS: dict[str, Callable[[Content], str]] = {
    "text_reasoning": lambda content: content.get("text") or "",
    "error": lambda content: content.get("message") or "",
    "function_call": _text_of_call,
    "function_result": lambda content: _text_of_value(content.get("result")) or _text_of_value(content.get("items")),
    "code_interpreter_tool_call": lambda content: text_of(content.get("inputs") or ()),
    "code_interpreter_tool_result": lambda content: text_of(content.get("outputs") or ()),
    "image_generation_tool_call": lambda _: "image_generation()",
    "image_generation_tool_result": lambda _: "[image]",
    "mcp_server_tool_call": _text_of_call,
    "mcp_server_tool_result": lambda content: _text_of_value(content.get("output")),
    "search_tool_call": lambda content: describe_call(content.get("tool_name") or "search", content.get("arguments")),
    "search_tool_result": lambda content: _text_of_value(content.get("result")),
    "shell_tool_call": lambda content: describe_call("shell", "\n".join(content.get("commands") or ())),
    "shell_tool_result": lambda content: text_of(content.get("outputs") or ()),
    "shell_command_output": _text_of_output,
    "computer_tool_call": lambda content: describe_call(
        "computer", ", ".join(each["type"] for each in content["actions"])
    ),
    "computer_tool_result": lambda _: "[screenshot]",
    "function_approval_request": _text_of_request,
    "function_approval_response": lambda content: "approved" if content.get("approved") else "declined",
    "oauth_consent_request": lambda content: content.get("consent_link") or "",
}
