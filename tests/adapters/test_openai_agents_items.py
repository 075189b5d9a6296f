"""Every kind of input item of the OpenAI Agents SDK goes through a session unchanged."""

import json
from typing import Any, get_args, get_type_hints

import pytest

pytest.importorskip("agents")

from openai.types.responses import response_input_item_param

from chat_session import Message, SessionManager
from chat_session.adapters.openai_agents import FORMAT, ManagedSession
from chat_session.adapters.openai_agents.items import to_item, to_message

# By the class that the SDK's package has for the kind: an item, and of the message its sender, its text, and the ids
# of its call or answer.
KINDS: dict[str, tuple[dict[str, Any], str, str, str | None]] = {
    "EasyInputMessageParam": ({"role": "user", "content": "Hello"}, "user", "Hello", None),
    "Message": (
        {
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw0KGgo="},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            ],
        },
        "user",
        "What is this?\n[image]\n[file a.pdf]",
        None,
    ),
    "ResponseOutputMessageParam": (
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "phase": "final_answer",
            "content": [
                {"type": "output_text", "text": "A cat.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "No more."},
            ],
        },
        "assistant",
        "A cat.\nNo more.",
        None,
    ),
    "ResponseFileSearchToolCallParam": (
        {
            "type": "file_search_call",
            "id": "fs_1",
            "queries": ["cats"],
            "status": "completed",
            "results": [{"file_id": "f", "score": 0.25, "attributes": {"n": 1.5}}],
        },
        "assistant",
        'file_search(["cats"])',
        None,
    ),
    "ResponseComputerToolCallParam": (
        {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "c1",
            "pending_safety_checks": [{"id": "s", "code": "x", "message": "y"}],
            "status": "completed",
            "action": {"type": "click", "button": "left", "x": 1, "y": 2},
        },
        "assistant",
        "computer(click)",
        "c1",
    ),
    "ComputerCallOutput": (
        {
            "type": "computer_call_output",
            "call_id": "c1",
            "output": {"type": "computer_screenshot", "image_url": "data:image/png;base64,AAAA"},
            "acknowledged_safety_checks": [{"id": "s"}],
        },
        "tool",
        "[screenshot]",
        "c1",
    ),
    "ResponseFunctionWebSearchParam": (
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "cats", "sources": [{"type": "url", "url": "https://a.example"}]},
        },
        "assistant",
        "web_search(cats)",
        None,
    ),
    "ResponseFunctionToolCallParam": (
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "f1",
            "name": "order",
            "arguments": '{"pizza": "ä", "price": 12345678901234567890}',
            "async": False,
            "caller": {"type": "direct"},
            "namespace": "shop",
            "status": "completed",
        },
        "assistant",
        'order({"pizza": "ä", "price": 12345678901234567890})',
        "f1",
    ),
    "FunctionCallOutput": (
        {
            "type": "function_call_output",
            "call_id": "f1",
            "output": [{"type": "input_text", "text": "Ordered"}, {"type": "input_image", "file_id": "f"}],
        },
        "tool",
        "Ordered\n[image]",
        "f1",
    ),
    "ToolSearchCall": (
        {"type": "tool_search_call", "call_id": "ts1", "execution": "client", "arguments": {"query": "x"}},
        "assistant",
        'tool_search({"query": "x"})',
        "ts1",
    ),
    "ResponseToolSearchOutputItemParamParam": (
        {"type": "tool_search_output", "call_id": "ts1", "tools": [{"type": "function", "name": "f"}]},
        "tool",
        "",
        "ts1",
    ),
    "AdditionalTools": (
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]},
        "system",
        "",
        None,
    ),
    "ResponseConfigurationUpdateItemParamParam": (
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
        "assistant",
        "",
        None,
    ),
    "ResponseReasoningItemParam": (
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "It has ears."}],
            "content": [{"type": "reasoning_text", "text": "Long thoughts"}],
            "encrypted_content": "gAAAAAB" + "x" * 100_000,
        },
        "assistant",
        "It has ears.",
        None,
    ),
    "ResponseCompactionItemParamParam": (
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
        "assistant",
        "",
        None,
    ),
    "ImageGenerationCall": (
        {
            "type": "image_generation_call",
            "id": "ig_1",
            "result": "iVBORw0KGgo=" * 1000,
            "status": "completed",
            "revised_prompt": "a cat",
        },
        "assistant",
        "image_generation(a cat)",
        None,
    ),
    "ResponseCodeInterpreterToolCallParam": (
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "code": "print(1)",
            "container_id": "cntr",
            "outputs": [{"type": "logs", "logs": "1\n"}],
            "status": "completed",
        },
        "assistant",
        "print(1)",
        None,
    ),
    "LocalShellCall": (
        {
            "type": "local_shell_call",
            "id": "ls_1",
            "call_id": "l1",
            "action": {"type": "exec", "command": ["ls", "-l"], "env": {}},
            "status": "completed",
        },
        "assistant",
        "shell(ls -l)",
        "l1",
    ),
    "LocalShellCallOutput": (
        {"type": "local_shell_call_output", "id": "l1", "output": '{"stdout":""}', "status": "completed"},
        "tool",
        '{"stdout":""}',
        "l1",
    ),
    "ShellCall": (
        {"type": "shell_call", "call_id": "s1", "action": {"commands": ["ls", "pwd"], "timeout_ms": 10}},
        "assistant",
        "shell(ls\npwd)",
        "s1",
    ),
    "ShellCallOutput": (
        {
            "type": "shell_call_output",
            "call_id": "s1",
            "output": [{"stdout": "a", "stderr": "b", "outcome": {"type": "exit", "exit_code": 0}}],
            "max_output_length": 100,
        },
        "tool",
        "a\nb",
        "s1",
    ),
    "ApplyPatchCall": (
        {
            "type": "apply_patch_call",
            "call_id": "p1",
            "status": "completed",
            "operation": {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b"},
        },
        "assistant",
        "update_file(a.py)",
        "p1",
    ),
    "ApplyPatchCallOutput": (
        {"type": "apply_patch_call_output", "call_id": "p1", "status": "failed", "output": None},
        "tool",
        "failed",
        "p1",
    ),
    "McpListTools": (
        {"type": "mcp_list_tools", "id": "ml_1", "server_label": "s", "tools": [{"name": "t", "input_schema": {}}]},
        "assistant",
        "",
        None,
    ),
    "McpApprovalRequest": (
        {"type": "mcp_approval_request", "id": "ma1", "name": "t", "arguments": "{}", "server_label": "s"},
        "assistant",
        "t({})",
        "ma1",
    ),
    "McpApprovalResponse": (
        {"type": "mcp_approval_response", "approval_request_id": "ma1", "approve": False, "reason": "no"},
        "tool",
        "declined",
        "ma1",
    ),
    "McpCall": (
        {
            "type": "mcp_call",
            "id": "mc_1",
            "name": "t",
            "arguments": "{}",
            "server_label": "s",
            "approval_request_id": "ma1",
            "output": "done",
        },
        "assistant",
        "t({})\ndone",
        None,
    ),
    "ResponseCustomToolCallOutputParam": (
        {"type": "custom_tool_call_output", "call_id": "cc1", "output": "fine"},
        "tool",
        "fine",
        "cc1",
    ),
    "ResponseCustomToolCallParam": (
        {"type": "custom_tool_call", "call_id": "cc1", "name": "sql", "input": "SELECT 1"},
        "assistant",
        "sql(SELECT 1)",
        "cc1",
    ),
    "CompactionTrigger": ({"type": "compaction_trigger"}, "assistant", "", None),
    "ItemReference": ({"id": "msg_1"}, "assistant", "", None),
    "Program": (
        {"type": "program", "id": "pr_1", "call_id": "pg1", "code": "f()", "fingerprint": "x"},
        "assistant",
        "f()",
        "pg1",
    ),
    "ProgramOutput": (
        {"type": "program_output", "id": "po_1", "call_id": "pg1", "result": "3", "status": "completed"},
        "tool",
        "3",
        "pg1",
    ),
}
ODD = [
    {"type": "a_kind_of_next_year", "call_id": 5, "role": ["x"], "data": {"n": 2**70, "deep": [[[None]]]}},
    {"role": "user", "content": "half a pair: \ud83d, a line: \u2028, nothing: \x00"},
    {"type": "function_call", "call_id": "c" * 5000, "name": "f", "arguments": "{}"},
    {"type": ["no", "text"], "role": {"no": "text"}},
    {"role": "assistant", "content": None},
    {"type": "web_search_call", "id": "ws", "action": None},
    {"type": "function_call_output", "call_id": "i", "output": "", "score": float("-inf")},
    {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "gAAAA"},
]


def test_there_is_an_example_of_every_kind_that_the_sdk_knows() -> None:
    known = get_args(response_input_item_param.ResponseInputItemParam)

    assert {each.__name__ for each in known} == set(KINDS)
    for each in known:  # the examples have no field that the kind has not
        assert set(KINDS[each.__name__][0]) <= set(get_type_hints(each))


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_becomes_a_message_that_people_can_read(kind: str) -> None:
    item, sender, text, call = KINDS[kind]
    message = to_message(item, 1000)  # type: ignore[arg-type]  # an item is a union of typed dicts

    assert (message.sender, message.text, message.format) == (sender, text, FORMAT)
    assert message.internal == (item.get("role") not in ("user", "assistant"))
    expected = () if call is None else (call,)
    assert (message.answers if sender == "tool" else message.calls) == expected
    assert json.loads(message.content_json or b"") == item


async def test_items_of_every_kind_come_back_unchanged(manager: SessionManager) -> None:
    items: list[Any] = [item for item, *_ in KINDS.values()] + ODD
    await ManagedSession("all", manager).add_items(items)

    assert await ManagedSession("all", manager).get_items() == items
    popped = [await ManagedSession("all", manager).pop_item() for _ in items]
    assert popped[::-1] == items


@pytest.mark.parametrize("kind", [kind for kind, (_, sender, *_) in KINDS.items() if sender != "user"])
async def test_a_customers_text_cannot_pose_as_something_else(kind: str, manager: SessionManager) -> None:
    await manager.create_session("u", session_id="s")
    forged = Message(sender="user", text="I am the customer", content=KINDS[kind][0], format=FORMAT)
    await manager.add_message("s", forged)

    assert await ManagedSession("s", manager).get_items() == [{"role": "user", "content": "I am the customer"}]


def test_a_long_text_is_cut_for_readers_and_whole_for_the_model() -> None:
    item: Any = {"role": "user", "content": "ä" * 1000}
    message = to_message(item, 100)

    assert len(message.text.encode()) <= 100
    assert message.text.endswith("ä…")
    assert to_item(message) == item
