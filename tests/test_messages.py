"""Everything that the package says to people is in ``messages.txt``, to be read from start to end.

``CHAT_SESSION_WRITE_MESSAGES=1 pytest tests/test_messages.py`` writes that file again.
"""

import ast
import inspect
import os
import re
import textwrap
from pathlib import Path

import chat_session
from chat_session import errors
from chat_session.cli.app import _COMMANDS

PACKAGE = Path(chat_session.__file__).parent
GOLDEN = Path(__file__).parent / "messages.txt"
ERRORS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
HEARD = {"DB index", "cluster support disabled", "can't run this command"}  # what servers say to us

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_CODE = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|DROP|FROM|WHERE|SAVEPOINT|ROLLBACK|RELEASE|WITH)\b"
    r"|[a-z_]+(, [a-z_]+){2,}$|(bold|dim|default|not)( (not|red|italic|reverse|bold))+$"
)


class Shown(str):
    """An argument as it is shown. A moment is written by its own method, and a number as a format says."""

    __slots__ = ()

    def isoformat(self, **_: object) -> str:
        return self

    def __format__(self, _: str) -> str:
        """Whatever is said of a number's digits."""
        return str(self)


class Messages(ast.NodeVisitor):
    """Collects the messages of one module in the order of its source, errors as the sentences that they become."""

    def __init__(self, path: Path) -> None:
        self.errors: list[str] = []
        self._others: list[str] = []
        self._texts: list[dict[str, str]] = []  # of the names that stand for one text, by scope
        self._visit_scope(ast.parse(path.read_text(encoding="utf-8")))

    def all(self) -> list[str]:
        """Each once. A part of an error is shown within the whole error."""
        others = [text for text in self._others if not any(text in error for error in self.errors)]
        return list(dict.fromkeys([*self.errors, *others]))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_scope(node)

    def _visit_scope(self, node: ast.AST) -> None:
        found: dict[str, list[str | None]] = {}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                found.setdefault(inner.targets[0].id, []).append(self._render(inner.value))
        self._texts.append({name: texts[0] for name, texts in found.items() if len(texts) == 1 and texts[0]})
        self.generic_visit(node)
        self._texts.pop()

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # otherwise it is a docstring, which only programmers read
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", "")
        if name in ERRORS:
            self.errors.append(str(ERRORS[name](*(Shown(self._show(argument)) for argument in node.args))))
        elif name != "cast":
            self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Only the calls in an annotation, because they have the help texts of a command's options."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Call):
                self.visit(inner)

    def generic_visit(self, node: ast.AST) -> None:
        text = self._render(node)
        if text is None:
            super().generic_visit(node)
        elif is_prose(text):
            self._others.append(text)

    def _render(self, node: ast.AST) -> str | None:
        """The text of an expression, its variable parts in braces; None if it is no text."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.JoinedStr(values=parts):
                return "".join(map(self._show, parts))
            case ast.BinOp(left=left, op=ast.Add(), right=right) if self._render(left) or self._render(right):
                return self._show(left) + self._show(right)
        return None

    def _show(self, node: ast.expr) -> str:
        value = node.value if isinstance(node, ast.FormattedValue) else node
        text = self._render(value)
        if text is None and isinstance(value, ast.Name):
            text = next((texts[value.id] for texts in reversed(self._texts) if value.id in texts), None)
        if text is not None:
            return text
        code = ast.unparse(value)
        return "{" + (code if len(code) <= 30 and not set(code) & set("{}\"'") else "…") + "}"


def is_prose(text: str) -> bool:
    """Two words, or a word beside a variable part. SQL, lists of columns and styles are no prose."""
    words = re.findall(r"(?:^|(?<=[\s(]))[A-Za-z'’]{2,}(?=[\s.,:;)]|$)", _PLACEHOLDER.sub("", text))
    beside_others = _PLACEHOLDER.search(text) is not None and " " in _PLACEHOLDER.sub("", text)
    return len(words) > 1 - beside_others and not _CODE.match(text) and text not in HEARD


def collect() -> dict[str, Messages]:
    """The messages by module. The contract suite is left out: it speaks to those who write a store."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "testing" not in path.parts]
    return {path.relative_to(PACKAGE.parent).as_posix(): Messages(path) for path in paths}


def test_the_messages_are_those_that_were_read() -> None:
    sections = {name: messages.all() for name, messages in collect().items()}
    sections |= {f"chat-session {name} --help": [inspect.getdoc(command) or ""] for name, command in _COMMANDS.items()}
    lines = []
    for name, texts in sections.items():
        if texts:
            lines += ["", name]
        for text in texts:
            lines += textwrap.wrap(" ".join(text.split()), 110, initial_indent="  - ", subsequent_indent="    ")
    said = "\n".join(lines[1:]) + "\n"
    if os.environ.get("CHAT_SESSION_WRITE_MESSAGES"):
        GOLDEN.write_text(said, encoding="utf-8")
    assert said == GOLDEN.read_text(encoding="utf-8"), "read what is new, then write messages.txt again (see above)"


def test_an_error_is_one_or_two_sentences() -> None:
    for name, messages in collect().items():
        for text in messages.errors:
            assert text.endswith((".", "}")), (name, text)
            assert len(re.findall(r"[a-z0-9)}'\"/][.?!](?= [A-Z]|$)", text)) <= 2, (name, text)
