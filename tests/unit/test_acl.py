"""The rights that the documentation says suffice: what the code calls, no more and no less."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONNECTION = {"eval", "evalsha", "publish", "subscribe", "unsubscribe", "wait"}
"""What the store's client says of itself."""


def called_by_scripts() -> Iterator[str]:
    for path in (ROOT / "session" / "lua").rglob("*.lua"):
        yield from re.findall(r"redis\.p?call\('(\w+)'", path.read_text())


def called_by_servers() -> Iterator[str]:
    for path in (ROOT / "session").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("_store.command"):
                assert isinstance(node.args[0], ast.Constant), f"{path}: {ast.unparse(node)}"
                yield node.args[0].value


def test_the_documented_rights_are_what_is_called() -> None:
    """One more is a risk, one less is an outage."""
    (line,) = re.findall(r"^ACL SETUSER keepseat on .*$", (ROOT / "docs" / "redis.md").read_text(), re.M)
    granted = re.findall(r"\+(\S+)", line)
    called = {name.lower() for name in (*called_by_scripts(), *called_by_servers())} | CONNECTION

    assert "-@all" in line
    assert sorted(granted) == granted
    assert called == set(granted)
