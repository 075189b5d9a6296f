"""For the API reference: what Griffe does not see, since it reads the source and does not run it.

The calls of ``chat_session.blocking`` are made from their asynchronous namesakes, by lines such as
``get_session = _blocking(manager.SessionManager.get_session)``: they get the signature and the docstring of these.
The fields of ``Settings`` get their type, and as docstring what is allowed.
"""

from typing import Any

import griffe

from chat_session.settings import Settings

MAKERS = ("_blocking", "_iterating", "_waiting")


class Reference(griffe.Extension):
    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        for owner in pkg["blocking"].classes.values():
            for name, member in list(owner.members.items()):
                maker, _, given = str(getattr(member, "value", "")).rstrip(")").partition("(")
                namesake = given.partition(",")[0]
                if maker in MAKERS:
                    owner.set_member(name, _as_synchronous(member, _find(pkg, namesake)))
        for name, field in Settings.model_fields.items():
            shown = pkg["settings.Settings"][name]
            shown.annotation = getattr(field.annotation, "__name__", str(field.annotation).removeprefix("typing."))
            allowed = field.description or ""
            if allowed not in ("", "text"):
                shown.docstring = griffe.Docstring(f"{allowed[0].upper()}{allowed[1:]}.", parent=shown)


def _find(pkg: griffe.Module, path: str) -> griffe.Function:
    """A method of ``module.Class.method``, which a base of the class may define."""
    owner, _, name = path.rpartition(".")
    found: griffe.Function = pkg[owner].all_members[name]
    return found


def _as_synchronous(made: griffe.Attribute, namesake: griffe.Function) -> griffe.Function:
    returns = namesake.returns
    if isinstance(returns, griffe.ExprSubscript) and str(returns.left) in ("AsyncIterator", "AsyncGenerator"):
        given = returns.slice
        item = given.elements[0] if isinstance(given, griffe.ExprTuple) else given
        returns = griffe.ExprSubscript("Iterator", item)
    return griffe.Function(
        made.name,
        lineno=made.lineno,
        endlineno=made.endlineno,
        parameters=namesake.parameters,
        returns=returns,
        docstring=namesake.docstring,
    )
