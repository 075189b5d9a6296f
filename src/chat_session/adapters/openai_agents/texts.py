"""What a person reads of an item: the words of a message, and of a tool's call or answer what happened."""

from collections.abc import Callable, Mapping
from typing import Any

from chat_session.adapters.projection import describe_call

Item = Mapping[str, Any]

_PARTS = {"input_image": "[image]", "input_audio": "[audio]", "computer_screenshot": "[screenshot]"}
_TEXTS = ("text", "refusal", "transcript")


def text_of(item: Item) -> str:
    """Empty where there is nothing to read, such as encrypted reasoning, or a kind that is not known. Never raises."""
    kind = item.get("type")
    describe = _KINDS.get(kind, _text_of_message) if isinstance(kind, str) else _text_of_message
    try:
        return describe(item)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):  # an item of an unexpected shape
        return ""


def text_of_content(content: object) -> str:
    """A text as it is; of a list of parts the texts, and a mark for an image, a file or a sound."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _text_of_part(content)
    if not isinstance(content, (list, tuple)):
        return ""
    return "\n".join(filter(None, map(_text_of_part, content)))


def _text_of_part(part: object) -> str:
    if not isinstance(part, Mapping):
        return part if isinstance(part, str) else ""
    kind = part.get("type")
    if kind == "input_file":
        return f"[file {part['filename']}]" if part.get("filename") else "[file]"
    if kind in _PARTS:
        return _PARTS[kind]
    return next((part[name] for name in _TEXTS if isinstance(part.get(name), str)), "")


def _text_of_message(item: Item) -> str:
    return text_of_content(item.get("content"))


def _text_of_call(item: Item) -> str:
    return describe_call(item.get("name", "function"), item.get("arguments"))


def _text_of_reasoning(item: Item) -> str:
    return text_of_content(item.get("summary")) or text_of_content(item.get("content"))


def _text_of_web_search(item: Item) -> str:
    action = item["action"]
    looked_for = action.get("query") or action.get("queries") or action.get("pattern") or action.get("url")
    return describe_call("web_search", looked_for)


def _text_of_computer_call(item: Item) -> str:
    actions = item.get("actions") or [item.get("action")]
    return describe_call("computer", ", ".join(str(action["type"]) for action in actions if action))


def _text_of_shell_output(item: Item) -> str:
    output = item.get("output")
    if not isinstance(output, list):
        return text_of_content(output)
    return "\n".join(chunk[name] for chunk in output for name in ("stdout", "stderr") if chunk.get(name))


def _text_of_patch(item: Item) -> str:
    operation = item["operation"]
    return describe_call(operation["type"], operation.get("path"))


def _text_of_approval(item: Item) -> str:
    return "approved" if item.get("approve") else "declined"


def _text_of_mcp_call(item: Item) -> str:
    result = item.get("output") or item.get("error")
    return _text_of_call(item) + (f"\n{result}" if isinstance(result, str) else "")


_KINDS: dict[str, Callable[[Item], str]] = {
    "function_call": _text_of_call,
    "function_call_output": lambda item: text_of_content(item.get("output")),
    "custom_tool_call": lambda item: describe_call(item.get("name", "tool"), item.get("input")),
    "custom_tool_call_output": lambda item: text_of_content(item.get("output")),
    "reasoning": _text_of_reasoning,
    "web_search_call": _text_of_web_search,
    "file_search_call": lambda item: describe_call("file_search", item.get("queries")),
    "computer_call": _text_of_computer_call,
    "computer_call_output": lambda item: text_of_content(item.get("output")),
    "code_interpreter_call": lambda item: item.get("code") or "",
    "image_generation_call": lambda item: describe_call("image_generation", item.get("revised_prompt")),
    "local_shell_call": lambda item: describe_call("shell", " ".join(item["action"]["command"])),
    "local_shell_call_output": lambda item: text_of_content(item.get("output")),
    "shell_call": lambda item: describe_call("shell", "\n".join(item["action"]["commands"])),
    "shell_call_output": _text_of_shell_output,
    "apply_patch_call": _text_of_patch,
    "apply_patch_call_output": lambda item: text_of_content(item.get("output")) or str(item.get("status", "")),
    "tool_search_call": lambda item: describe_call("tool_search", item.get("arguments")),
    "mcp_approval_request": _text_of_call,
    "mcp_approval_response": _text_of_approval,
    "mcp_call": _text_of_mcp_call,
    "program": lambda item: item.get("code") or "",
    "program_output": lambda item: text_of_content(item.get("result")),
}
