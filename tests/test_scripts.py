"""Each script's header against the function that calls it, and against the keys it uses."""

import inspect
import re
from collections.abc import Sequence
from importlib.resources import files

import pytest

from chat_session.storage.redis.keys import DeskKeys, IndexEntry, SessionKeys
from chat_session.storage.redis.scripts import desk, feed, index, replies, sessions, state, turns
from chat_session.storage.redis.scripts.loading import load
from testkit.backends import StartBackend

FOLDER = files("chat_session.storage.redis") / "lua"
FILES = {
    file.name.removesuffix(".lua"): file
    for capability in ("sessions", "index", "state", "desk", "turns", "feed", "replies")
    for file in (FOLDER / capability).iterdir()
}
INCLUDES = {file.name.removesuffix(".lua"): file for file in (FOLDER / "include").iterdir()}
CALLERS = {
    name: function
    for module in (sessions, index, state, desk, turns, feed, replies)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
}
NAMES = sorted(FILES)
GROUPS = {SessionKeys: SessionKeys._fields, DeskKeys: DeskKeys._fields}
SOME_KEYS = {  # of those of a session or of the desk
    "check_epoch": ("meta",),
    "end_lapse": ("lapsed",),
    "forget_entry": ("queue", "teams", "entries", "seats", "claims", "leases", "idle"),
    "forget_operators": ("seats", "presence", "operators"),
    "lease_entry": ("queue", "teams", "entries", "seats", "claims", "leases", "presence", "operators", "idle"),
    "list_operators": ("seats", "presence", "operators"),
    "list_seats": ("entries", "seats"),
    "read_counts": ("queue", "teams", "seats", "leases", "counts"),
    "read_desk": ("meta",),
    "renew_presence": ("presence", "operators", "seats", "lapsed", "counts"),
    "abort_reply": ("meta", "draft"),
    "assign_session": ("meta", "entries"),
    "begin_reply": ("meta", "draft"),
    "check_turn": ("meta", "history"),
    "release_turn": ("meta", "history", "draft"),
    "renew_turn": ("meta", "history", "draft"),
    "stop_turn": ("meta", "history", "draft"),
    "take_turn": ("meta", "history", "draft"),
    "find_message": ("meta", "history", "ids"),
    "get_history": ("meta", "history"),
    "increment": ("meta",),
    "update_session": ("meta",),
    "observe": ("meta", "history", "draft"),
    "read_desk_mark": ("queue", "entries", "seats", "presence", "operators"),
    "write_reply": ("meta", "draft"),
}


def header(name: str) -> dict[str, str]:
    """The KEYS, ARGV and REPLY lines, and the summary."""
    lines = FILES[name].read_text("utf-8").splitlines()
    assert lines[0].startswith(f"-- {name}: ")
    found = {}
    for line in lines[1:]:
        match = re.match(r"-- (KEYS|ARGV|REPLY) ?(.*)", line)
        if match:
            last = match[1]
            found[last] = match[2].strip()
        elif line.startswith("--       |"):
            found[last] += line.removeprefix("--      ")
    return found


def split(text: str) -> list[str]:
    return [part.strip().rstrip(".?") for part in text.split("|") if part.strip()]


def named_keys(name: str) -> list[str]:
    return [part.rstrip("?") for part in header(name)["KEYS"].split(" | ") if not part.endswith("...")]


def takes_a_list_of_keys(name: str) -> bool:
    return header(name)["KEYS"].endswith("...")


def code(text: str) -> str:
    """Without comments."""
    return "\n".join(line.partition("--")[0] for line in text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_a_scripts_header_names_what_its_caller_passes(name: str) -> None:
    """The id of the session comes first where only its errors need it."""
    parameters = list(inspect.signature(CALLERS[name], eval_str=True).parameters.values())
    if parameters[0].name == "session_id" and parameters[0].kind is not parameters[0].KEYWORD_ONLY:
        del parameters[0]
    keys: list[str] = []
    listed = [p.name for p in parameters if p.annotation == Sequence[IndexEntry]]  # a key and more in ARGV for each
    for parameter in parameters:
        if parameter.kind is not parameter.KEYWORD_ONLY:
            keys += GROUPS.get(parameter.annotation, [parameter.name])
    assert split(header(name)["KEYS"]) == list(SOME_KEYS.get(name, keys))
    passed = [each for each in split(header(name)["ARGV"]) if each not in listed]
    assert passed == [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


@pytest.mark.parametrize("name", NAMES)
def test_a_script_names_its_keys_in_its_first_line(name: str) -> None:
    lines = [line for line in FILES[name].read_text("utf-8").splitlines() if not line.startswith("--")]
    keys = named_keys(name)
    numbered = ", ".join(f"KEYS[{i}]" for i in range(1, len(keys) + 1))
    if keys:
        assert lines[0] == f"local {', '.join(keys)} = {numbered}"
    body = code("\n".join(lines[1:] if keys else lines))
    assert "KEYS" not in body or takes_a_list_of_keys(name)
    whole = code(load(name).text.decode()).partition("\n")[2]
    for key in keys:
        assert re.search(rf"\b{key}\b", whole.replace(f"local {', '.join(keys)} =", "")), f"{key} is not used"


@pytest.mark.parametrize("name", NAMES)
def test_a_script_touches_only_the_keys_it_declares(name: str) -> None:
    keys = {*named_keys(name), "key"}  # a function's own, which it is given
    if takes_a_list_of_keys(name):
        keys |= {
            "KEYS[i]",
            "KEYS[i + 1]",
            "KEYS[i + 2]",
            "KEYS[i + half]",
            f"KEYS[{len(named_keys(name)) + 1}]",
        }  # of the list, and its first
    text = code(load(name).text.decode())
    for call in re.findall(r"(?:redis\.)?\bcall\(([^)]*)", text):
        command, *rest = (part.strip() for part in call.split(","))
        assert command == "'TIME'" or rest[0] in keys, call
    for arguments in re.findall(r"(?<!function )\b(?:set|apply|find_place)\(([\w[\]]+)", text):
        assert arguments in keys
    for arguments in re.findall(r"(?<!function )\bexpire\((.*)\)", text):
        assert {part.strip() for part in arguments.rpartition("deadline(ttl),")[2].split(",")} <= {*keys, "deadline"}


def said(name: str, word: str) -> set[str]:
    """What an include says that it reads, or sets. After a semicolon it says more of it."""
    [line] = re.findall(rf"^-- {word} +(.*)$", INCLUDES[name].read_text("utf-8"), re.MULTILINE)
    return set(line.partition(";")[0].split()) - {"nothing"}


SHARED = {each for name in INCLUDES for word in ("READS", "SETS") for each in said(name, word)}


@pytest.mark.parametrize("name", sorted(INCLUDES))
def test_an_include_says_what_it_reads_and_what_it_sets(name: str) -> None:
    body = code(INCLUDES[name].read_text("utf-8")).replace("\\n", "")
    names = re.findall(r"^( *)local (?:function )?([\w, ]+)", body, re.MULTILINE)
    parameters = re.findall(r"function \w*\(([\w, ]+)", body)
    own = {each.strip() for listed in (*parameters, *(found for _, found in names)) for each in listed.split(",")}
    outermost = {each.strip() for indent, listed in names if not indent for each in listed.split(",")}
    used = {each for each in SHARED if re.search(rf"(?<![\w'.]){each}\b(?!')", body)}
    assert said(name, "SETS") == outermost & SHARED
    assert said(name, "READS") == used - own


@pytest.mark.parametrize("name", NAMES)
def test_a_script_answers_only_in_the_words_of_its_header(name: str) -> None:
    documented = {alternative.split()[0] for alternative in split(header(name)["REPLY"])}
    assert set(re.findall(r"\{'([A-Z]+)'", load(name).text.decode())) == documented


@pytest.mark.parametrize("name", NAMES)
def test_a_script_never_decodes_a_payload_and_stays_short(name: str) -> None:
    text = FILES[name].read_text("utf-8")
    assert "cjson" not in text
    assert "cmsgpack" not in text
    assert len(text.splitlines()) <= 60


def test_every_script_has_its_caller_and_the_other_way_round() -> None:
    assert sorted(CALLERS) == NAMES


def test_all_scripts_compile_on_the_oldest_server(start: StartBackend) -> None:
    with start("redis62").server.client() as client:
        for name in NAMES:
            script = load(name)
            assert client.script_load(script.text).encode() == script.sha
