"""Another site file: put in place, tried, kept or rolled back; also when it is cut off anywhere."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.errors import NotDone
from gateway.model import Emit, Json, Remember
from gateway.runtime.reconfigure import TOLD, Check, Disk, Reconfiguration, check_apart
from gateway.runtime.trial import Phase

OLD = """\
version: 1
site: {id: s}
gateway: g
uplink: {url: "mqtt://127.0.0.1:1883"}
lines: {a: {driver: modbus, tcp: "127.0.0.1:1"}}
devices: {d: {line: a, points: {p: {at: holding 0}}}}
"""
NEW = OLD.replace("holding 0", "holding 1")


class Cut(BaseException):
    """The power is gone."""


class Frail(Disk):
    """A disk whose power goes after so many steps; a write may be cut off before its rename or after it."""

    def __init__(self, steps: int = 1 << 30) -> None:
        self.steps = steps

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Cut

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        self._step()
        path.with_name(f"{path.name}.part").write_bytes(content[: len(content) // 2])
        self._step()
        super().write(path, content, mode)
        self._step()

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)
        self._step()


async def good(_site: Path, _candidate: Path, _running: bytes) -> None:
    """For tests that are about something else."""


class Place:
    """A folder with a site file, and a journal that commits at once."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site.yaml"
        self.site.write_text(OLD)
        self.site.chmod(0o640)
        self.memory: dict[str, Json] = {}
        self.told: list[Emit] = []

    def start(self, disk: Disk | None = None, check: Check = good) -> Reconfiguration:
        one = Reconfiguration(self.site, disk, check)
        one.begin()
        one.recall(self.memory)
        return one

    async def tell(self, effects: Sequence[Emit | Remember]) -> None:
        for effect in effects:
            if isinstance(effect, Emit):
                self.told.append(effect)
            else:
                self.memory[effect.key] = effect.value

    async def apply(self, one: Reconfiguration, text: str = NEW, trial: float = 60.0) -> Json:
        return await one.apply(text, trial, "who", Around())

    def names(self) -> set[str]:
        return {path.name for path in self.site.parent.iterdir() if not path.name.endswith(".part")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


class Around:
    """What a trial goes by, as a test wants it. `why`: what forbids a change, from the look `looks` on."""

    def __init__(
        self,
        why: str | None = None,
        *,
        looks: int = 1,
        place: Place | None = None,
        answers: bool = True,
        connects: bool = True,
    ) -> None:
        self.why = why
        self._looks = looks
        self._place = place
        self._answers = answers
        self._connects = connects

    def lines(self) -> set[str]:
        return {"a"}

    def answering(self) -> set[str]:
        return {"a"} if self._answers else set()

    def connected(self) -> bool:
        return self._connects

    def interlocked(self) -> str | None:
        self._looks -= 1
        return self.why if self._looks <= 0 else None

    async def commit(self, effects: Sequence[Emit | Remember]) -> None:
        assert self._place is not None
        await self._place.tell(effects)


class Timed:
    """A clock that runs a minute at each look."""

    def __init__(self, step: float = 60.0) -> None:
        self._now = 0.0
        self._step = step

    def clock(self) -> Clock:
        return Clock(mono=self._tick, wall=lambda: 1_795_000_000.0, synced=lambda: True)

    def _tick(self) -> float:
        self._now += self._step
        return self._now


APART = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from gateway.runtime.reconfigure import check_apart
site = Path(sys.argv[2])
asyncio.run(check_apart(site, Path(sys.argv[3]), site.read_bytes()))
print("looked at")
"""


def test_a_file_is_looked_at_where_the_program_is_only_on_the_path(place: Place) -> None:
    """As the launcher of the package runs it: an interpreter that knows nothing of the program, started in `/`."""
    bare = Path(sys.executable).resolve()
    candidate = place.site.with_name("candidate")
    candidate.write_text(NEW)
    tree = ":".join((str(Path(__file__).parents[2]), *(path for path in sys.path if path.endswith("-packages"))))
    told = subprocess.run(
        [bare, "-IS", "-c", APART, tree, place.site, candidate],
        cwd="/", env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert told.stdout == "looked at\n", told.stderr


async def watch(place: Place, one: Reconfiguration, *, answering: bool = True, connected: bool = True) -> None:
    clock = Timed(10.0).clock()
    await one.watch(clock, Around(place=place, answers=answering, connects=connected), every=0.0)


async def test_kept(place: Place) -> None:
    one = place.start(check=check_apart)
    result = await place.apply(one)
    assert isinstance(result, dict)
    assert result["changed"] is True
    assert one.restart_due
    assert place.site.read_text() == NEW
    assert stat.S_IMODE(place.site.stat().st_mode) == 0o640
    assert (place.site.parent / "site.yaml.previous").read_text() == OLD
    two = place.start()
    await watch(place, two)
    assert [event.type for event in place.told] == ["config.applied"]
    assert place.told[0].data == {
        "digest": result["digest"],
        "previous": result["previous"],
        "by": "who",
        "reason": None,
    }
    assert not two.restart_due
    assert place.names() == {"site.yaml", "site.yaml.previous"}
    assert two.get() == {"file": NEW, "digest": result["digest"]}


@pytest.mark.parametrize(
    ("answering", "connected", "reason"),
    [(False, True, "no answer on a"), (True, False, "the broker was not reached")],
)
async def test_rolled_back(place: Place, reason: str, *, answering: bool, connected: bool) -> None:
    await place.apply(place.start())
    two = place.start()
    await watch(place, two, answering=answering, connected=connected)
    assert two.restart_due
    assert place.site.read_text() == OLD
    assert place.told == []
    three = place.start()
    await watch(place, three)
    assert [event.type for event in place.told] == ["config.rolled-back"]
    assert place.told[0].data["reason"] == reason
    assert place.told[0].data["digest"] == three.digest
    assert place.names() == {"site.yaml", "site.yaml.previous"}


async def test_two_starts_that_failed(place: Place) -> None:
    await place.apply(place.start())
    for _ in range(2):
        place.start()
        assert place.site.read_text() == NEW
    third = place.start()
    assert place.site.read_text() == OLD
    assert third.get() == {"file": OLD, "digest": third.digest}
    await watch(place, third)
    assert [event.type for event in place.told] == ["config.rolled-back"]
    assert "2 starts" in str(place.told[0].data["reason"])


async def test_a_stop_that_was_asked_for_is_no_failed_start(place: Place) -> None:
    await place.apply(place.start())
    for _ in range(5):
        one = place.start()
        one.stopped()
        assert place.site.read_text() == NEW
    await watch(place, place.start())
    assert [event.type for event in place.told] == ["config.applied"]


async def test_a_person_was_faster(place: Place) -> None:
    await place.apply(place.start())
    place.site.write_text(OLD + "# mended here\n")
    one = place.start()
    assert one.pending is None
    await watch(place, one)
    assert place.told == []
    assert place.site.read_text().endswith("# mended here\n")


async def test_the_same_file_changes_nothing(place: Place) -> None:
    one = place.start()
    result = await place.apply(one, OLD)
    assert isinstance(result, dict)
    assert result["changed"] is False
    assert not one.restart_due
    assert place.names() == {"site.yaml"}


async def test_what_was_edited_here_is_not_overwritten(place: Place) -> None:
    one = place.start()
    place.site.write_text(OLD + "# mended here\n")
    with pytest.raises(NotDone, match="edited") as refused:
        await place.apply(one)
    assert refused.value.code == "interlocked"


@pytest.mark.parametrize("looks", [1, 2])
async def test_interlocked(place: Place, looks: int) -> None:
    """Before the check, and after it: a fire may begin meanwhile."""
    one = place.start()
    around = Around("a fire stands", looks=looks)
    with pytest.raises(NotDone, match="a fire stands") as refused:
        await one.apply(NEW, 60.0, "who", around)
    assert refused.value.code == "interlocked"
    assert place.site.read_text() == OLD
    assert place.names() == {"site.yaml"}


async def test_one_trial_at_a_time(place: Place) -> None:
    await place.apply(place.start())
    with pytest.raises(NotDone, match="on trial"):
        await place.apply(place.start(), OLD)


async def test_errors_come_back_all(place: Place) -> None:
    one = place.start(check=check_apart)
    with pytest.raises(NotDone) as refused:
        await place.apply(one, OLD.replace("holding 0", "holding x").replace("gateway: g", "gateway: G"))
    assert refused.value.code == "bad-args"
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert [line.partition(": ")[0] for line in lines] == ["site.yaml:3:10", "site.yaml:6:41"]
    assert place.names() == {"site.yaml"}
    assert not one.restart_due


async def test_errors_are_bounded(place: Place) -> None:
    text = OLD + "".join(f"wrong-{n}: {{}}\n" for n in range(4000))
    with pytest.raises(NotDone) as refused:
        await place.apply(place.start(check=check_apart), text)
    assert len(str(refused.value)) < 32 << 10


async def test_too_large_for_the_broker(place: Place) -> None:
    large = OLD + "# x\n" * (40 << 10)
    with pytest.raises(NotDone, match="131072"):
        await place.apply(place.start(), large)
    place.site.write_text(large)
    with pytest.raises(NotDone, match="131072"):
        place.start().get()


FIXED = {
    "uplink": NEW.replace("1883", "1884"),
    "uplink, by name": NEW.replace('url: "mqtt', 'username: x, url: "mqtt'),
    "commands": NEW + "commands: {keys: [{id: k, ed25519: k.pem}]}\n",
    "http": NEW + 'http: {status: {listen: "127.0.0.1:8081"}}\n',
    "store": NEW + "store: {max_size: 300MiB}\n",
    "gateway": NEW.replace("gateway: g", "gateway: h"),
    "site.id": NEW.replace("id: s", "id: t"),
    "people": NEW + "people: {li: technician}\n",
    "simulated": NEW + "simulated: true\n",
    "cameras.c.password": NEW
    + 'cameras: {c: {driver: generic, address: 127.0.0.1, snapshot: "http://127.0.0.1/x", username: u, '
    + "password: {file: k.pem}}}\n",
    "access.lists.0": NEW + "access: {lists: [plates.csv]}\n",
}


@pytest.mark.parametrize("place_of", FIXED)
async def test_what_stays_as_it_is(place: Place, place_of: str) -> None:
    for name in ("k.pem", "plates.csv"):
        (place.site.parent / name).write_text("plate,kind,from,until,gates,note\n")
    with pytest.raises(NotDone, match=place_of.partition(",")[0]) as refused:
        await place.apply(place.start(check=check_apart), FIXED[place_of])
    assert refused.value.code == "not-allowed"
    assert place.site.read_text() == OLD


async def test_a_reference_that_stays_is_no_obstacle(place: Place) -> None:
    (place.site.parent / "plates.csv").write_text("plate,kind,from,until,gates,note\n")
    place.site.write_text(OLD + "access: {lists: [plates.csv]}\n")
    result = await place.apply(
        place.start(check=check_apart), NEW + "access: {lists: [plates.csv], min_confidence: 70}\n"
    )
    assert isinstance(result, dict)
    assert result["changed"] is True


CAMERA = OLD + (
    'cameras: {c: {driver: hikvision, address: 10.0.0.9, snapshot: "http://10.0.0.9/x", username: u, '
    "password: {file: k.pem}, utc_offset: '+08:00'}}\n"
)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (("address: 10.0.0.9", "address: 10.6.6.6"), "cameras.c.address"),
        (("//10.0.0.9/x", "//10.6.6.6/x"), "cameras.c.snapshot"),
        (("//10.0.0.9/x", "//10.0.0.9:8080/x"), "cameras.c.snapshot"),
        (("username: u", "username: v"), "cameras.c.username"),
        (("driver: hikvision", "driver: generic"), "cameras.c.driver"),
        (("c: {driver", "d: {driver"), "cameras.d.password"),
        (("file: k.pem", "file: other.pem"), "cameras.c.password"),
        (("password", "token"), "cameras.c.token"),
    ],
)
async def test_where_a_secret_goes_stays_as_it_is(place: Place, change: tuple[str, str], name: str) -> None:
    (place.site.parent / "k.pem").write_text("x")
    place.site.write_text(CAMERA)
    with pytest.raises(NotDone, match=name) as refused:
        await place.apply(place.start(check=check_apart), CAMERA.replace(*change))
    assert refused.value.code == "not-allowed"
    assert place.site.read_text() == CAMERA


@pytest.mark.parametrize("change", [("+08:00", "+09:00"), ("holding 0", "holding 1")])
async def test_what_concerns_no_secret_may_change_beside_one(place: Place, change: tuple[str, str]) -> None:
    (place.site.parent / "k.pem").write_text("x")
    place.site.write_text(CAMERA)
    result = await place.apply(place.start(check=check_apart), CAMERA.replace(*change))
    assert isinstance(result, dict)
    assert result["changed"] is True


FILES = {
    "a list": "access: {lists: [PATH]}\n",
    "a password": 'cameras: {c: {driver: generic, address: 127.0.0.1, snapshot: "http://127.0.0.1/x", '
    "username: u, password: {file: PATH}}}\n",
    "a key": "commands: {keys: [{id: k, ed25519: PATH}]}\n",
    "a certificate": 'http: {status: {listen: "127.0.0.1:8081", tls: {cert: PATH, key: PATH}}}\n',
    "the store": "store: {path: PATH}\n",
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("wrong", ["", "wrong: {}\n"])
async def test_no_answer_tells_whether_a_file_exists(place: Place, what: str, wrong: str) -> None:
    """Nor whether it may be read, is a folder, or what is in it."""
    (place.site.parent / "there").write_text("root:x:0:0\n")
    (place.site.parent / "folder").mkdir()
    answers = set()
    for path in ("there", "folder", "nowhere", "/etc/shadow", "/proc/1/mem"):
        text = NEW + FILES[what].replace("PATH", path) + wrong
        with pytest.raises(NotDone) as refused:
            await place.apply(place.start(check=check_apart), text)
        answers.add((refused.value.code, str(refused.value)))
    assert len(answers) == 1, answers


async def test_a_site_file_behind_a_link(place: Place) -> None:
    real = place.site.parent / "real.yaml"
    place.site.rename(real)
    place.site.symlink_to(real)
    await place.apply(place.start())
    assert place.site.is_symlink()
    assert real.read_text() == NEW


# ---- cut off anywhere -------------------------------------------------------------------------------


async def life(place: Place, disk: Frail, *, good: bool) -> None:
    """What one process does, until it is over or cut off."""
    one = place.start(disk)
    if one.pending is None and one.digest and place.site.read_text() == OLD and not place.told:
        await place.apply(one)
    else:
        await watch(place, one, answering=good)


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("steps", range(28))
async def test_cut_off_at_every_step(place: Place, steps: int, *, good: bool) -> None:
    """Whatever is lost, the next lives come to an end by themselves, with a whole file and one story."""
    disk = Frail(steps)
    for _ in range(3):
        try:
            await life(place, disk, good=good)
        except Cut:
            break
        except BaseExceptionGroup:
            break
    assert place.site.read_text() in (OLD, NEW)
    disk.steps = 1 << 30
    for _ in range(4):
        one = place.start()
        await watch(place, one, answering=good)
    assert place.site.read_text() in (OLD, NEW)
    assert place.names() <= {"site.yaml", "site.yaml.previous", "site.yaml.candidate"}
    kinds = [event.type for event in place.told]
    if place.site.read_text() == NEW:
        assert kinds == ["config.applied"]
        assert good
    else:
        assert kinds in ([], ["config.rolled-back"])
    if "site.yaml.previous" in place.names():
        assert (place.site.parent / "site.yaml.previous").read_text() == OLD


async def test_told_once_though_the_note_stays(place: Place) -> None:
    """Cut off between the commit and the removal of the note."""
    await place.apply(place.start())
    cut = Frail()
    two = place.start(cut)
    cut.steps = 0
    with pytest.raises(Cut):
        await watch(place, two)
    assert place.memory[TOLD]
    for _ in range(3):
        await watch(place, place.start(), answering=False)
    assert [event.type for event in place.told] == ["config.applied"]
    assert place.site.read_text() == NEW


async def test_the_file_before_is_gone(place: Place) -> None:
    await place.apply(place.start())
    (place.site.parent / "site.yaml.previous").unlink()
    two = place.start()
    await watch(place, two, answering=False)
    assert not two.restart_due
    assert place.site.read_text() == NEW
    assert place.start().pending is None


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"{}", b'{"id": 1, "phase": "never", "lines": []}'])
def test_a_note_that_is_none(place: Place, note: bytes) -> None:
    trial = place.site.parent / "site.yaml.trial"
    trial.write_bytes(note)
    assert place.start().pending is None
    assert not trial.exists()


async def test_a_disk_that_cannot_be_written(place: Place) -> None:
    class Full(Disk):
        def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:  # noqa: ARG002
            raise OSError(28, "No space left on device")

    with pytest.raises(NotDone, match="No space left"):
        await place.apply(place.start(Full()))
    assert place.site.read_text() == OLD


async def test_a_roll_back_is_tried_until_the_disk_takes_it(place: Place) -> None:
    class Sick(Disk):
        failures = 2

        def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
            if path.name == "site.yaml" and self.failures:
                self.failures -= 1
                raise OSError(5, "Input/output error")
            super().write(path, content, mode)

    await place.apply(place.start())
    sick = Sick()
    two = place.start(sick)
    await watch(place, two, answering=False)
    assert sick.failures == 0
    assert place.site.read_text() == OLD
    assert two.restart_due


# ---- the same process, executed anew ------------------------------------------------------------------

AGAIN = """
import os, sys
from gateway.runtime.reconfigure import reexecute
lives = int(os.environ.get("LIVES", "0"))
print(os.getpid(), lives, sys.argv[1:])
if lives < 2:
    os.environ["LIVES"] = str(lives + 1)
    reexecute()
"""


async def test_the_process_becomes_a_new_one() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        AGAIN,
        "run",
        "site.yaml",
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    output, _ = await process.communicate()
    assert output.decode().splitlines() == [f"{process.pid} {n} ['run', 'site.yaml']" for n in range(3)]


def test_phases_are_written_as_words() -> None:
    assert [*Phase] == ["trial", "back"]
