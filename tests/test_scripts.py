"""Each script's header against the function that calls it, and against the keys it uses."""

import inspect
import re
from importlib.resources import files

import pytest

from chat_session.storage.redis import scripts
from chat_session.storage.redis.keys import IndexKeys, SessionKeys
from testkit.backends import StartBackend

FOLDER = files("chat_session.storage.redis") / "lua"
NAMES = sorted(entry.name.removesuffix(".lua") for entry in FOLDER.iterdir() if entry.name.endswith(".lua"))
GROUPS = {
    SessionKeys: SessionKeys._fields,
    IndexKeys | tuple[()]: IndexKeys._fields,
}


def header(name: str) -> dict[str, str]:
    """The KEYS, ARGV and REPLY lines, and the summary."""
    lines = (FOLDER / f"{name}.lua").read_text("utf-8").splitlines()
    assert lines[0].startswith(f"-- {name}: ")
    found = {}
    for line in lines[1:]:
        match = re.match(r"-- (KEYS|ARGV|REPLY) ?(.*)", line)
        if match:
            found[match[1]] = match[2].strip()
    return found


def split(text: str) -> list[str]:
    return [part.strip().rstrip(".?") for part in text.split("|") if part.strip()]


@pytest.mark.parametrize("name", NAMES)
def test_a_scripts_header_names_what_its_caller_passes(name: str) -> None:
    signature = inspect.signature(getattr(scripts, name), eval_str=True)
    keys: list[str] = []
    args: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            args.append(parameter.name)
        else:
            keys += GROUPS.get(parameter.annotation, [parameter.name])
    assert split(header(name)["KEYS"]) == keys
    assert split(header(name)["ARGV"]) == args


@pytest.mark.parametrize("name", NAMES)
def test_a_script_touches_only_the_keys_it_declares_and_every_one_of_them(name: str) -> None:
    text = scripts.load(name).text.decode()
    body = "\n".join(line.partition("--")[0] for line in text.splitlines())
    declared = len(split(header(name)["KEYS"]))
    used = {int(number) for number in re.findall(r"KEYS\[(\d+)\]", body)}
    assert used == set(range(1, declared + 1))
    for call in re.findall(r"(?:redis\.)?\bcall\(([^)]*)", body):
        command, *rest = (part.strip() for part in call.split(","))
        assert command == "'TIME'" or rest[0].startswith("KEYS[") or rest[0] == "key"  # a function's, given KEYS[…]
    for arguments in re.findall(r"(?<!function )\b(?:set|expire|apply|find_place)\((.*)\)", body):
        assert "KEYS" in arguments


@pytest.mark.parametrize("name", NAMES)
def test_a_script_answers_only_in_the_words_of_its_header(name: str) -> None:
    text = scripts.load(name).text.decode()
    documented = {alternative.split()[0] for alternative in split(header(name)["REPLY"])}
    assert set(re.findall(r"\{'([A-Z]+)'", text)) == documented


@pytest.mark.parametrize("name", NAMES)
def test_a_script_never_decodes_a_payload_and_stays_short(name: str) -> None:
    text = (FOLDER / f"{name}.lua").read_text("utf-8")
    assert "cjson" not in text
    assert "cmsgpack" not in text
    assert len(text.splitlines()) <= 60


def test_every_script_has_its_caller_and_the_other_way_round() -> None:
    callers = [
        name
        for name, value in vars(scripts).items()
        if inspect.isfunction(value) and inspect.signature(value, eval_str=True).return_annotation is scripts.Call
    ]
    assert sorted(callers) == NAMES


def test_all_scripts_compile_on_the_oldest_server(start: StartBackend) -> None:
    with start("redis62").server.client() as client:
        for name in NAMES:
            script = scripts.load(name)
            assert client.script_load(script.text).encode() == script.sha
