"""The Debian package: what is in it, that it runs on both Pythons, that two builds are equal, that nothing collides."""

import io
import json
import os
import re
import runpy
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gateway import __version__
from tests.packaging.building import PACKAGING, ROOT, build, built_once, python, unpacked
from tests.test_systemd_unit import exposure


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    of_the_run = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    return built_once(of_the_run / "package", "--machine", "amd64")


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, unpacked."""
    return unpacked(package, tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def control(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its control files."""
    folder = tmp_path_factory.mktemp("control")
    subprocess.run(["dpkg-deb", "--control", package, folder], check=True, timeout=60)
    return folder


def field(package: Path, name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "--field", package, name], check=True, capture_output=True, text=True
    ).stdout.strip()


def launch(root: Path, version: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The launcher on that Python, as its first line has it; nothing of this environment reaches it."""
    interpreter = python(version)
    if interpreter is None:
        pytest.skip(f"Python {version} is not on this machine")
    return subprocess.run(
        [interpreter, "-IS", root / "usr/bin/site-gateway", *words],
        capture_output=True, text=True, check=False, timeout=60, cwd=root,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
    )  # fmt: skip


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    assert package.name == f"site-gateway_{__version__}_amd64.deb"
    assert (field(package, "Version"), field(package, "Architecture")) == (__version__, "amd64")
    depends = field(package, "Depends")
    assert {"python3 (>= 3.11)", "python3 (<< 3.14)", "tzdata"} <= set(depends.split(", "))
    assert "python3.11" not in depends
    assert 50_000 < int(field(package, "Installed-Size")) < 100_000


def test_apt_refuses_a_python_that_is_not_inside(package: Path, tmp_path: Path) -> None:
    """Not found out at the next start."""
    base = "Status: install ok installed\nMaintainer: x\nDescription: x\n"
    names = ("libc6", "tzdata", "init-system-helpers", "systemd", "debconf")
    others = "".join(f"Package: {name}\nArchitecture: amd64\nVersion: 999\n{base}\n" for name in names)

    def install(python: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "status").write_text(f"{others}Package: python3\nArchitecture: amd64\nVersion: {python}\n{base}\n")
        (tmp_path / "lists/partial").mkdir(parents=True, exist_ok=True)
        options = [f"Dir::State::status={tmp_path}/status", f"Dir::State::lists={tmp_path}/lists",
                   f"Dir::Cache={tmp_path}", "APT::Architecture=amd64"]  # fmt: skip
        command = ["apt-get", "--simulate", *(f"--option={one}" for one in options), "install", str(package)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    for version in ("3.11.2-1", "3.13.5-1"):
        told = install(version)
        assert (told.returncode, "Inst site-gateway" in told.stdout) == (0, True), told.stdout + told.stderr
    for version in ("3.14.0-1", "3.9.2-3"):
        told = install(version)
        assert told.returncode == 100
        assert "site-gateway : Depends: python3 (" in told.stdout
        assert f"but {version} is to be installed" in told.stdout or f"but {version} is installed" in told.stdout, (
            told.stdout
        )


def test_each_version_says_what_to_do_before_an_upgrade_to_it() -> None:
    """From the first one on that another is upgraded to."""
    *later, first = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## [")[1:]
    assert first.startswith("0.1.0]")
    assert later[0].startswith(f"{__version__}]")
    for section in later:
        assert "\n\nBefore you upgrade: " in section, section.partition("\n")[0]


def test_an_upgrade_can_never_ask(control: Path, root: Path) -> None:
    assert not (control / "conffiles").exists()
    assert not (control / "templates").exists()
    assert not (root / "etc").exists()


@pytest.mark.parametrize(
    "name",
    [
        "bin/site-gateway",
        "lib/systemd/system/site-gateway.service",
        "lib/systemd/system/site-gateway-upgrade.timer",
        "lib/sysusers.d/site-gateway.conf",
        "lib/tmpfiles.d/site-gateway.conf",
        "lib/modules-load.d/site-gateway.conf",
        "lib/udev/rules.d/70-rs485.rules",
        "lib/site-gateway/gateway/profiles/jdrk-rs-yg-n01.yaml",
        "share/bash-completion/completions/site-gateway",
        "share/doc/site-gateway/examples/example.yaml",
        "share/doc/site-gateway/security.md",
        "share/doc/site-gateway/copyright",
        "share/doc/site-gateway/sbom.cdx.json",
        "share/python3/runtime.d/site-gateway.rtupdate",
    ],
)
def test_it_lays_down(root: Path, name: str) -> None:
    assert (root / "usr" / name).is_file()


def test_nothing_lies_outside_of_usr_and_all_is_roots(package: Path) -> None:
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True, timeout=60).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for entry in archive.getmembers():
            assert entry.name in {".", "./usr"} or entry.name.startswith("./usr/"), entry.name
            assert (entry.uid, entry.gid) == (0, 0), entry.name
            assert not entry.mode & 0o7022, entry.name


def test_the_unit_that_is_laid_down_is_exposed_to_little(root: Path) -> None:
    overall, _ = exposure(root / "usr/lib/systemd/system/site-gateway.service")
    assert overall <= 1.5


def test_the_manual_has_every_command(root: Path) -> None:
    manual = subprocess.run(
        ["zcat", root / "usr/share/man/man1/site-gateway.1.gz"], check=True, capture_output=True, text=True
    ).stdout
    told = set(re.findall(r"^\.SS \\&(.+)$", manual, re.MULTILINE))
    for command in ("check SITE", "run SITE", "demo", "scan", "walk SITE", "doctor SITE"):
        assert any(heading.replace("\\", "").replace("[OPTIONS] ", "").startswith(command) for heading in told), command
    assert "site\\-gateway check site.yaml" in manual


def test_every_library_is_named_with_its_licence(root: Path) -> None:
    papers = root / "usr/share/doc/site-gateway"
    bill = json.loads((papers / "sbom.cdx.json").read_text())
    names = {component["name"]: component["version"] for component in bill["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {str(canonicalize_name(Requirement(line).name)) for line in project["dependencies"]}
    assert asked < names.keys()
    assert names.keys() >= {"aiohttp", "cryptography", "orjson", "pillow", "pydantic-core", "pymodbus"}
    assert not names.keys() & {"hatchling", "pytest", "editables"}
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert {name: locked[name] for name in names} == names
    tree = {
        path.name.partition("-")[0].replace("_", "-").lower()
        for path in (root / "usr/lib/site-gateway").glob("*.dist-info")
    }
    assert tree - {"site-gateway"} == names.keys()
    text = (papers / "copyright").read_text()
    for name, version in names.items():
        stanza = text.partition(f"License: {name}-{version}\n")[2].partition("\nFiles: ")[0]
        assert len(stanza) > 20, name
    hashes = {
        one["content"]
        for component in bill["components"]
        for wheel in component["components"]
        for one in wheel["hashes"]
    }
    assert all(f"sha256:{one}" in (ROOT / "requirements.lock").read_text() for one in hashes)


def test_the_launcher_can_be_read_at_once() -> None:
    assert len((PACKAGING / "launcher").read_text().splitlines()) <= 60


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_the_program_runs_from_its_tree_first_and_only(root: Path, version: str) -> None:
    told = launch(root, version, "--version")
    assert (told.returncode, told.stdout.strip()) == (0, f"site-gateway, version {__version__}"), told.stderr
    example = root / "usr/share/doc/site-gateway/examples/example.yaml"
    checked = launch(root, version, "check", example)
    assert checked.stdout.splitlines()[-1].startswith("0 errors"), checked.stdout + checked.stderr


def test_the_demo_runs_from_its_tree(root: Path) -> None:
    """It starts the gateway as a process of its own, with an interpreter that knows no `gateway`."""
    told = launch(root, "3.11", "demo", "--for", "10s")
    assert told.returncode == 0, told.stderr
    assert re.search(r"^[1-9]\d* events arrived, 0 repeats", told.stdout, re.MULTILINE), told.stdout
    assert "Traceback" not in told.stdout
    assert "No module" not in told.stdout


ALL = """
import importlib, pkgutil, sys
tree = sys.argv[1]
sys.path.insert(0, tree)
for package in ("gateway", "drivers", "simulators"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
for name in (
    "aiohttp", "cryptography.hazmat.primitives.asymmetric.ed25519", "jwt", "orjson", "PIL.Image", "PIL._imaging",
    "pydantic_core", "yaml._yaml", "_cffi_backend", "rich.console", "pymodbus.client", "serial", "structlog",
):
    found = importlib.import_module(name).__file__
    assert found.startswith(tree), found
"""


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_every_library_loads(root: Path, version: str) -> None:
    interpreter = python(version)
    if interpreter is None:
        pytest.skip(f"Python {version} is not on this machine")
    tree = root / "usr/lib/site-gateway"
    told = subprocess.run(
        [interpreter, "-IS", "-c", ALL, tree], capture_output=True, text=True, check=False, timeout=60
    )
    assert told.returncode == 0, told.stderr


def test_two_builds_are_equal(package: Path, tmp_path: Path) -> None:
    again = build(tmp_path, "--machine", "amd64", TZ="Asia/Shanghai", LANG="C")
    assert again.read_bytes() == package.read_bytes()


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
    return path


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.syspath_prepend(str(PACKAGING))
    return runpy.run_path(str(PACKAGING / "wheels.py"))


def test_a_collision_that_is_not_identical_fails_the_build(wheels: dict[str, object], tmp_path: Path) -> None:
    lay, collision = wheels["lay"], wheels["CollisionError"]
    assert callable(lay)
    assert isinstance(collision, type)
    tree = tmp_path / "tree"
    lay(wheel(tmp_path, "a", {"x/same.py": "1", "a-1.dist-info/RECORD": "a"}), tree)
    lay(wheel(tmp_path, "b", {"x/same.py": "1", "x/more.cpython-313-x86_64-linux-gnu.so": ""}), tree)
    with pytest.raises(collision, match=r"x/same\.py"):
        lay(wheel(tmp_path, "c", {"x/same.py": "2"}), tree)
    assert (tree / "x/same.py").read_text() == "1"
    assert not (tree / "a-1.dist-info").exists()


@pytest.mark.parametrize("name", ["../x.py", "a/../../x.py", "/x.py"])
def test_a_wheel_writes_nowhere_else(wheels: dict[str, object], tmp_path: Path, name: str) -> None:
    lay, collision = wheels["lay"], wheels["CollisionError"]
    assert callable(lay)
    assert isinstance(collision, type)
    with pytest.raises(collision):
        lay(wheel(tmp_path, "evil", {name: "x"}), tmp_path / "tree")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_package_for_a_pi_has_the_same_files_and_its_own_libraries(package: Path, tmp_path: Path) -> None:
    pi = build(tmp_path, "--machine", "arm64")
    assert field(pi, "Architecture") == "arm64"

    def files(one: Path) -> set[str]:
        told = subprocess.run(["dpkg-deb", "--contents", one], check=True, capture_output=True, text=True).stdout
        return {line.split()[5].replace("x86_64", "M").replace("aarch64", "M") for line in told.splitlines()}

    only = {name for name in files(pi) ^ files(package) if ".libs/" not in name}
    assert only == set()
