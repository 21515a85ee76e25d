"""The rules of the house, as far as a program can check them. The way imports point is in `pyproject.toml`."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("gateway", "drivers", "simulators")

PURE_BY_PLACE = ("gateway/contract/", "gateway/site/")
"""All of these think; elsewhere a module says in its docstring that it is pure."""

IMPURE = frozenset({
    "aiomqtt", "asyncio", "concurrent", "logging", "multiprocessing", "os", "paho", "pymodbus", "random", "secrets",
    "selectors", "serial", "shutil", "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "tempfile",
    "threading", "time", "urllib",
})  # fmt: skip
IMPURE_OURS = ("gateway.clock", "gateway.runtime.inbox", "gateway.log", "gateway.runtime.systemd")
ON_DISK = frozenset(
    {"exists", "is_dir", "is_file", "open", "read_bytes", "read_text", "stat", "write_bytes", "write_text"}
)
PROTOCOLS = {"gateway/driver.py"}
"""Says what others do, so `async` is in its signatures; it does nothing itself."""

OURS = {
    "gateway/errors.py": (),
    "gateway/kinds.py": (),
    "gateway/model.py": (),
    "gateway/driver.py": ("gateway.model", "gateway.errors"),
    "gateway/clock.py": ("gateway.model", "gateway.errors"),
    "gateway/arguments.py": ("gateway.model",),
    "gateway/commands.py": ("gateway.arguments", "gateway.kinds", "gateway.model"),
    "gateway/contract/": (
        "gateway.contract",
        "gateway.arguments",
        "gateway.commands",
        "gateway.kinds",
        "gateway.model",
    ),
    "gateway/site/": (
        "gateway.site",
        "gateway.arguments",
        "gateway.backoff",
        "gateway.commands",
        "gateway.kinds",
        "gateway.masks",
        "gateway.model",
        "gateway.errors",
    ),
    "drivers/anpr/": (
        "drivers.anpr",
        "gateway.backoff",
        "gateway.driver",
        "gateway.model",
        "gateway.errors",
        "gateway.clock",
    ),
    "drivers/pictures/": ("drivers.pictures", "gateway.driver", "gateway.model", "gateway.errors", "gateway.clock"),
    "drivers/modbus/": ("drivers.modbus", "gateway.driver", "gateway.model", "gateway.errors", "gateway.clock"),
}
"""All that these may know of ours."""

LIBRARY = {
    "aiohttp": ("drivers/pictures/account.py", "gateway/local/http.py", "simulators/"),
    "aiomqtt": ("simulators/",),
    "cronsim": ("gateway/site/calendar.py",),
    "cryptography": (
        "gateway/cloud/commands/verify.py",
        "gateway/config/contents.py",
        "gateway/intake/presence.py",
        "gateway/technician/certificate.py",
        "gateway/technician/upgrade.py",
        "simulators/",
    ),
    "jwt": ("simulators/",),
    "PIL": ("drivers/pictures/", "simulators/"),
    "paho": ("gateway/cloud/mqtt/session.py", "simulators/"),
    "prometheus_client": ("gateway/local/metrics.py",),
    "pymodbus": ("drivers/modbus/line.py", "simulators/"),
    "segno": ("gateway/technician/page_link.py",),
    "serial": ("drivers/modbus/line.py", "simulators/"),
    "sqlite3": ("gateway/cloud/journal/sqlite.py",),
    "structlog": ("gateway/log.py",),
    "yaml": ("gateway/config/source.py", "simulators/"),
}
"""One library lives in one file."""

LONGEST_FILE = 700
LONGEST_FUNCTION = 60
LONG_FUNCTION = 40


@cache
def product() -> dict[str, Path]:
    """Every module of the program by its path from the root."""
    return {str(path.relative_to(ROOT)): path for part in PRODUCT for path in sorted((ROOT / part).rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(product()[name].read_text(), name)


def pure() -> list[str]:
    """What says that it is pure, and what has to be: it does not wait, so no clock, I/O, `async`, log or chance."""
    return [
        name
        for name in product()
        if name.startswith(PURE_BY_PLACE) or re.search(r"\bPure\b(?! but)", ast.get_docstring(tree(name)) or "")
    ]


def imports(module: ast.AST) -> Iterator[str]:
    """The full names of what is imported, `from a import b` as `a.b`."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def functions(module: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Name, first line and length of every function, its docstring not counted."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, node.lineno, length


def impurities(module: ast.Module, *, signatures_only: bool = False) -> list[str]:
    """What a pure module must not have."""
    found = [
        f"import {name}" for name in imports(module) if name.partition(".")[0] in IMPURE or within(name, IMPURE_OURS)
    ]
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"open", "print", "input"}
        ):
            found.append(f"{node.lineno}: {node.func.id}()")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ON_DISK:
            found.append(f"{node.lineno}: .{node.func.attr}()")
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{node.lineno}: await")
        if isinstance(node, ast.AsyncFunctionDef) and not signatures_only:
            found.append(f"{node.lineno}: async def {node.name}")
    return found


def stray_tasks(module: ast.Module) -> list[str]:
    """Tasks that no group owns, and tasks without a name."""
    found = []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        if name in {"ensure_future", "gather", "run_coroutine_threadsafe"}:
            found.append(f"{node.lineno}: {name}")
        if name == "create_task":
            named = any(keyword.arg == "name" for keyword in node.keywords)
            if not named or not owner or re.search(r"asyncio|loop", owner):
                found.append(f"{node.lineno}: create_task of {owner or 'nothing'}{'' if named else ' without a name'}")
    return found


def test_most_that_thinks_says_that_it_is_pure() -> None:
    assert len(pure()) > 120


@pytest.mark.parametrize("name", pure())
def test_what_thinks_does_not_wait(name: str) -> None:
    assert impurities(tree(name), signatures_only=name in PROTOCOLS) == []


@pytest.mark.parametrize("place", OURS)
def test_each_knows_only_what_it_may(place: str) -> None:
    seen = {name: set(imports(tree(name))) for name in product() if name.startswith(place)}
    assert seen
    strangers = {
        name: sorted(one for one in known if within(one, PRODUCT) and not within(one, OURS[place]))
        for name, known in seen.items()
    }
    assert {name: known for name, known in strangers.items() if known} == {}


@pytest.mark.parametrize("library", LIBRARY)
def test_one_library_lives_in_one_file(library: str) -> None:
    users = [name for name in product() if any(within(known, (library,)) for known in imports(tree(name)))]
    assert [name for name in users if not name.startswith(LIBRARY[library])] == []


@pytest.mark.parametrize("name", product())
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(name)) or not product()[name].read_text().strip()


@pytest.mark.parametrize("name", product())
def test_no_file_is_too_long(name: str) -> None:
    assert len(product()[name].read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("name", product())
def test_no_function_is_too_long(name: str, record_property: Callable[[str, object], None]) -> None:
    long = [(function, length) for function, _, length in functions(tree(name)) if length > LONG_FUNCTION]
    if long:
        record_property("long", long)
    assert [function for function, length in long if length > LONGEST_FUNCTION] == []


@pytest.mark.parametrize("name", product())
def test_every_task_has_a_group_and_a_name(name: str) -> None:
    assert stray_tasks(tree(name)) == []


@pytest.mark.parametrize("name", product())
def test_nothing_is_swallowed_or_left_for_later(name: str) -> None:
    bare = [
        node.lineno
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or (
                re.fullmatch(r"Exception|BaseException", ast.unparse(node.type))
                and all(isinstance(line, ast.Pass | ast.Continue) for line in node.body)
            )
        )
    ]
    assert bare == []
    assert re.findall(r"#\s*(?:TODO|FIXME|XXX)\b", product()[name].read_text()) == []


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for name in product():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


UNITS = re.compile(r"_(?:S|MS|PER_S|SECONDS|HOURS|DEGREES|BYTES|SHARE|PERCENT|FACTOR|PERIODS|PER_COST)$")
WITHOUT_UNIT = {
    "_ALPHA", "_BETA", "_STEP", "_GOLDEN", "_UNEVEN", "_ALIKE", "_LARGEST", "_SMALLEST", "_CLOSE_SCORE", "_USUAL_TOP",
    "_Z", "_Z_OF_INTERVAL", "OWN_AGREEMENT", "MAX_INTEGER", "CHUNKS", "ALWAYS", "_HIGHEST", "_ABOVE_ALL_NUMBERS",
}  # fmt: skip
"""Plain numbers, and shares by the name that their source gives them."""
GREY = {"_FLAT"}
"""Grey values of a picture."""
OTHER_UNITS = ("gateway/cloud/journal/", "drivers/pictures/measure.py")
"""Rows, pages and numbers of a file; shares and grey values of a picture."""


def is_number(node: ast.AST) -> bool:
    """Numbers alone, reckoned with or not, also several."""
    match node:
        case ast.Constant(value):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.UnaryOp(operand=operand):
            return is_number(operand)
        case ast.BinOp(left, _, right):
            return is_number(left) and is_number(right)
        case ast.Tuple(elts):
            return bool(elts) and all(map(is_number, elts))
    return False


def is_measured(value: ast.AST, told: str) -> bool:
    """A fraction, a size in powers of two, or what its docstring says to be bytes or a time; other numbers count."""
    return bool(re.match(r"(?:Bytes|Seconds|Milliseconds)\b", told)) or any(
        isinstance(inner, ast.LShift) or (isinstance(inner, ast.Constant) and isinstance(inner.value, float))
        for inner in ast.walk(value)
    )


def without_unit(module: ast.Module) -> Iterator[str]:
    """Constants that measure something and do not say in what unit."""
    for node, following in zip(module.body, [*module.body[1:], ast.Pass()], strict=True):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                pairs = list(zip(names, values, strict=True))
            case ast.Assign(targets=[name], value=value) | ast.AnnAssign(target=name, value=ast.expr() as value):
                pairs = [(name, value)]
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(told))):
                pass
            case _:
                told = ""
        for name, value in pairs:
            label = ast.unparse(name)
            if not UNITS.search(label) and is_number(value) and is_measured(value, told):
                yield label


@pytest.mark.parametrize("name", [name for name in product() if not name.startswith(OTHER_UNITS)])
def test_a_constant_carries_its_unit(name: str) -> None:
    assert [each for each in without_unit(tree(name)) if each not in WITHOUT_UNIT | GREY] == []


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        ("_LIMIT = 5.0", ["_LIMIT"]),
        ("_FIRST, _LAST = 0.5, 30.0", ["_FIRST", "_LAST"]),
        ("_LOOK: Final = 2 * 60.0", ["_LOOK"]),
        ("MOST = 4 << 20", ["MOST"]),
        ('_LONGEST = 256\n"""Bytes of a name."""', ["_LONGEST"]),
        ("_LIMIT_S = 5.0", []),
        ("MOST_BYTES = 4 << 20", []),
        ("_TRIES = 3", []),
    ],
)
def test_a_constant_without_its_unit_would_be_noticed(source: str, bare: list[str]) -> None:
    assert [*without_unit(ast.parse(source))] == bare


RECORDS = frozenset({
    "chatter", "chores", "counters", "counts", "numbers", "oddities", "past", "waiting",
})  # fmt: skip
"""Records of counters or of state that their owner keeps in an attribute."""
LIBRARY_HOOKS = frozenset(
    {"on_socket_register_write", "StartElementHandler", "EndElementHandler", "CharacterDataHandler"}
)
"""Attributes that a library wants to be set: of paho's client, of expat's parser."""


def set_from_outside(module: ast.Module) -> Iterator[str]:
    """Attributes of another object that are set: those of an attribute (`self.part.name = …`), and all functions."""
    own = {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(module):
        match node:
            case ast.Assign(targets=targets, value=value):
                flat = [each for one in targets for each in (one.elts if isinstance(one, ast.Tuple) else [one])]
            case ast.AugAssign(target=target, value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
                flat = [target]
            case _:
                continue
        is_function = isinstance(value, ast.Lambda) or (isinstance(value, ast.Attribute) and value.attr in own)
        for one in flat:
            match one:
                case ast.Attribute(attr=name) if name in LIBRARY_HOOKS:
                    pass
                case ast.Attribute(value=ast.Attribute(attr=part)) if part.lstrip("_") not in RECORDS or is_function:
                    yield ast.unparse(one)
                case ast.Attribute(value=ast.Name(id=name)) if is_function and name != "self":
                    yield ast.unparse(one)


@pytest.mark.parametrize("name", [name for name in product() if not name.startswith("simulators/")])
def test_no_object_is_wired_after_it_was_built(name: str) -> None:
    assert [*set_from_outside(tree(name))] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("driver.alarm = lambda: None", ["driver.alarm"]),
        ("people.sessions.ended = streams.end", ["people.sessions.ended"]),
        ("def lost(): ...\nserver.lost = self.lost", ["server.lost"]),
        ("self._parts.gates.power = True", ["self._parts.gates.power"]),
        ("self.lost = lambda: None", []),
        ("self.counts.refused += 1", []),
        ("gate.pulsing = False", []),
    ],
)
def test_wiring_from_outside_would_be_noticed(source: str, found: list[str]) -> None:
    assert [*set_from_outside(ast.parse(source))] == found


FUNCTIONS = {
    "drivers/anpr/": 5, "drivers/modbus/": 5, "drivers/pictures/": 1, "gateway/cli/": 1, "gateway/cloud/": 18,
    "gateway/config/": 1, "gateway/contract/": 0, "gateway/field/": 5, "gateway/intake/": 5, "gateway/local/": 6,
    "gateway/runtime/": 3, "gateway/settings/": 0, "gateway/site/": 4, "gateway/technician/": 1,
}  # fmt: skip
"""How often a room says `Callable[…]`."""


@pytest.mark.parametrize("room", FUNCTIONS)
def test_calls_come_before_callbacks(room: str) -> None:
    """A function is handed on where there are several callees: tables, decoders, clocks, work for a thread.

    Where there is one, an object is passed and called. Whoever needs one more says there why, and counts it here.
    """
    said = [
        f"{name}:{node.lineno}"
        for name in product()
        if name.startswith(room)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Callable"
    ]
    assert len(said) <= FUNCTIONS[room], said


@pytest.mark.parametrize("name", product())
def test_a_secret_is_no_function(name: str) -> None:
    secrets = re.compile(r"password|token|secret")
    told = {
        ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node): node.annotation
        for node in ast.walk(tree(name))
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None
    }
    assert [one for one, said in told.items() if secrets.search(one) and "Callable" in ast.unparse(said)] == []


def mirrored(name: str) -> str:
    """The folder in which the tests of a module are."""
    first, *rest = Path(name).parent.parts
    return "/".join(("tests", *([] if first == "gateway" else [first]), *rest))


WHOLE = (
    "tests/benchmarks",
    "tests/browser",
    "tests/end_to_end",
    "tests/foreign",
    "tests/packaging",
    "tests/reliability",
)
"""Tests of the whole, and of what is no module."""


def test_tests_mirror_the_packages() -> None:
    modules: dict[str, set[str]] = {}
    packages: dict[str, set[str]] = {}
    for name in product():
        path = Path(name)
        if path.stem != "__init__":
            modules.setdefault(path.stem, set()).add(mirrored(name))
        elif path.parent.parts[1:]:
            packages.setdefault(path.parent.name, set()).update((mirrored(name), mirrored(str(path.parent))))
    folders = {folder for places in (*modules.values(), *packages.values()) for folder in places}
    astray = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder, stem = str(path.parent.relative_to(ROOT)), path.stem.removeprefix("test_")
        in_its_place = stem not in modules or folder in modules[stem] | packages.get(stem, set())
        if not folder.startswith(WHOLE) and (folder not in folders or not in_its_place):
            astray.append(str(path.relative_to(ROOT)))
    assert astray == []


CHECKS = frozenset({"raises", "warns", "fail", "timeout", "wait_for", "check_schema"})
"""Calls that fail when what is expected does not come."""


@cache
def of_tests() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("*.py")}


def called(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            yield call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def can_fail(node: ast.AST, checkers: frozenset[str] | set[str]) -> bool:
    return any(isinstance(inner, ast.Assert | ast.Raise) for inner in ast.walk(node)) or any(
        name in checkers for name in called(node)
    )


def test_every_test_can_fail() -> None:
    """It asserts, or calls a function of the tests that does, or one that raises."""
    written = [
        (name, node)
        for name, module in of_tests().items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    checkers, before = set(CHECKS), 0
    while len(checkers) > before:
        before = len(checkers)
        checkers |= {node.name for _, node in written if can_fail(node, checkers)}
    assert [
        f"{name}: {node.name}" for name, node in written if node.name.startswith("test_") and node.name not in checkers
    ] == []


@pytest.mark.parametrize(
    ("source", "fails"),
    [
        ("def test() -> None:\n    assert compare(1)", True),
        ("def test() -> None:\n    compare(1)", False),
        ("def test() -> None:\n    with pytest.raises(ValueError):\n        compare(1)", True),
        ("async def test() -> None:\n    async with timeout(1):\n        await compare(1)", True),
    ],
)
def test_a_test_that_cannot_fail_would_be_noticed(source: str, *, fails: bool) -> None:
    assert can_fail(ast.parse(source), CHECKS) is fails


FORBIDDEN_NAMES = re.compile(r"manager|helper|util|common|base|service|handler")


@pytest.mark.parametrize("name", product())
def test_modules_are_named_after_things(name: str) -> None:
    assert not FORBIDDEN_NAMES.search(Path(name).stem)


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from asyncio import Queue",
        "import os.path",
        "async def f() -> None: ...",
        "def f() -> None:\n    print(1)",
        "with open('x') as f: pass",
        "text = path.read_text()",
        "from gateway.clock import Clock",
        "from gateway import log",
    ],
)
def test_an_impurity_would_be_noticed(source: str) -> None:
    assert impurities(ast.parse(source))


# Texts for the check, none of them is run.
@pytest.mark.parametrize(
    ("source", "stray"),
    [
        ("group.create_task(f(), name='line')", False),
        ("group.create_task(f())", True),
        ("asyncio.create_task(f(), name='x')", True),
        ("asyncio.get_running_loop().create_task(f(), name='x')", True),
        ("create_task(f(), name='x')", True),
        ("await asyncio.gather(f())", True),
    ],
)
def test_a_stray_task_would_be_noticed(source: str, *, stray: bool) -> None:
    assert bool(stray_tasks(ast.parse(source))) is stray


def locked(name: str) -> dict[str, tuple[int, ...]]:
    found = re.findall(r"^([a-z0-9-]+)==([0-9.]+)", (ROOT / name).read_text(), re.MULTILINE)
    return {package: tuple(map(int, version.split("."))) for package, version in found}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_fits_what_the_project_asks_for(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    if lock == "requirements-dev.lock":
        asked += [line for line in project["dependency-groups"]["dev"] if isinstance(line, str)]
    have = locked(lock)
    for line in asked:
        package, least, below = re.fullmatch(r"([\w-]+)>=([0-9.]+)(?:,<([0-9.]+))?", line).groups()  # type: ignore[union-attr]
        version = have[package.lower().replace("_", "-")]
        assert version >= tuple(map(int, least.split("."))), line
        assert not below or version < tuple(map(int, below.split("."))), line


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_names_hashes_and_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r"https?:|file:|--(?:extra-)?index|--find-links|[ =]/", text) == []
    blocks = re.split(r"\n(?=[a-z0-9-]+==)", text)[1:]
    assert len(blocks) == len(locked(lock))
    assert all("--hash=sha256:" in block for block in blocks)
    ours = locked("requirements.lock")
    assert {name: version for name, version in locked("requirements-dev.lock").items() if name in ours} == ours


def test_the_wheel_carries_the_program_its_profiles_and_its_examples(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    assert set(product()) <= carried
    static = ROOT / "gateway/local/static"
    assert {str(path.relative_to(ROOT)) for path in static.rglob("*") if path.is_file()} <= carried
    assert {"gateway/local/static/index.html.gz", "gateway/local/static/page.js.gz"} <= carried
    files = {path.relative_to(ROOT / "config") for path in (ROOT / "config").rglob("*") if path.is_file()}
    profiles = {path for path in files if path.parts[0] == "profiles"}
    assert profiles
    assert {f"gateway/{path}" for path in profiles} <= carried
    assert files - profiles
    assert {f"gateway/examples/{path}" for path in files - profiles} <= carried


def test_the_fast_part_on_other_pythons_is_there() -> None:
    named = re.findall(r"tests/[\w/.]+", (ROOT / ".ci" / "pythons").read_text(encoding="utf-8"))
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
