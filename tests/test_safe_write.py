"""What root's commands write where a service that was taken over has planted links."""

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.safe_write import as_owner, owner_of, replace_file
from tests.accounts import as_root
from tests.cli.test_command_line import MINIMAL, command

SERVICE = pwd.getpwnam("nobody")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's, as /var/lib is, that others can look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def given_to_service(path: Path) -> Path:
    path.mkdir()
    os.chown(path, SERVICE.pw_uid, SERVICE.pw_gid)
    return path


def plant(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.lchown(link, SERVICE.pw_uid, SERVICE.pw_gid)


def test_a_link_in_the_place_of_the_file_or_of_its_part_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("a", "a.part"):
        (tmp_path / name).symlink_to(victim)
    replace_file(tmp_path / "a", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "a").is_symlink()
    assert not (tmp_path / "a.part").exists()


@given(some.binary(max_size=200), some.sampled_from([0o600, 0o640, 0o644]))
def test_what_is_written_is_what_is_there(data: bytes, mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        for content in (b"old", data):
            replace_file(path, content, mode)
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert [one.name for one in Path(name).iterdir()] == ["file"]


@as_root
def test_the_owner_is_the_first_on_the_way_who_is_not_root(folder: Path) -> None:
    service = given_to_service(folder / "service")
    assert owner_of(folder / "missing" / "file") is None
    assert owner_of(service / "lists" / "file") == (SERVICE.pw_uid, SERVICE.pw_gid)
    (folder / "by-link").symlink_to(service)
    assert owner_of(folder / "by-link" / "file") == (SERVICE.pw_uid, SERVICE.pw_gid)
    (service / "roots").mkdir()
    assert owner_of(service / "roots" / "file") == (SERVICE.pw_uid, SERVICE.pw_gid), "its way leads through the service"
    plant(service / "etc", Path("/etc"))
    with as_owner(service / "etc" / "file"):
        assert (os.geteuid(), os.getegid(), os.getgroups()) == (SERVICE.pw_uid, SERVICE.pw_gid, [SERVICE.pw_gid])
        with pytest.raises(PermissionError):
            (service / "etc" / "site-gateway-test").write_text("root was led astray")
    assert os.geteuid() == 0


@as_root
@pytest.mark.parametrize("planted", ["lists", "part", "file"])
def test_an_import_by_root_goes_no_further_than_the_service_could(folder: Path, planted: str) -> None:
    store = given_to_service(folder / "store")
    victim = folder / "shadow"
    victim.write_text("precious")
    target = folder / "cron.d"
    target.mkdir()
    if planted == "lists":
        plant(store / "lists", target)
    else:
        given_to_service(store / "lists")
        name = next(iter(imported(folder / "dry", folder))).name
        plant(store / "lists" / (f"{name}.part" if planted == "part" else name), victim)
    imported(store, folder)
    assert victim.read_text() == "precious"
    assert list(target.iterdir()) == []
    for path in (store / "lists").glob("*"):
        assert path.lstat().st_uid == SERVICE.pw_uid


def imported(store: Path, folder: Path) -> list[Path]:
    """Import a list as root where no gateway runs: what then lies in the folder of lists."""
    site, csv = folder / "site.yaml", folder / "residents.csv"
    csv.write_text("plate,kind,from,until,gates,note\n沪A12345,resident,,,,\n", encoding="utf-8")
    site.write_text(f"{MINIMAL}store: {{path: {store}}}\n")
    done = command("access", "import", site, csv)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in (0, 2), done.stderr
    return [*(store / "lists").glob("*")]


@as_root
def test_records_and_copies_of_root_go_no_further_either(folder: Path) -> None:
    service = given_to_service(folder / "service")
    victim = folder / "victim"
    victim.write_text("precious")
    plant(service / "sim.yaml", victim)
    site = folder / "site.yaml"
    site.write_text(MINIMAL)
    words = [sys.executable, "-m", "gateway", "simulate", str(site), "--out", str(service / "sim.yaml")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, told = process.communicate(timeout=20)
    assert victim.read_text() == "precious"
    assert "Traceback" not in told
