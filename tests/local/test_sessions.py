import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.local.sessions import IDLE_S, LIFE_S, MOST, MOST_OF_ONE, Codes, PageSession, Sessions
from gateway.model import Instant

ROLES = {"zhang": "guard", "li": "steward"}


class Watch(Clock):
    def __init__(self) -> None:
        self.mono, self.wall, self.synced = 1000.0, 1.8e9, True

    def now(self) -> Instant:
        return Instant(self.mono, self.wall, self.synced)

    def passes(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds


class Ended:
    """Keeps the sessions that have ended."""

    def __init__(self) -> None:
        self.sessions: list[PageSession] = []

    def end(self, session: PageSession) -> None:
        self.sessions.append(session)


async def keep(sessions: Sessions) -> None:
    """As the process ends."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sessions.run(), name="sessions")
        await asyncio.sleep(0)
        task.cancel()


def test_a_token_is_one_persons_and_ends_with_the_log_out(tmp_path: Path) -> None:
    ended = Ended()
    sessions = Sessions(tmp_path / "sessions", ROLES, ended, Watch())
    token, session = sessions.open("zhang", "guard")
    other, _ = sessions.open("li", "steward")

    assert sessions.find(token) is session
    assert token != other
    assert len(token) == 43
    for wrong in (None, "", token[:-1], token + "x", "x" * 10_000, "\udc80"):
        assert sessions.find(wrong) is None
    sessions.close(token)
    assert sessions.find(token) is None
    assert ended.sessions == [session]


def test_it_ends_12_hours_after_the_last_request_and_24_after_the_login(tmp_path: Path) -> None:
    watch = Watch()
    sessions = Sessions(tmp_path / "sessions", ROLES, Ended(), watch)
    token, _ = sessions.open("zhang", "guard")
    watch.passes(IDLE_S - 1)
    assert sessions.find(token)
    watch.passes(IDLE_S - 1)
    assert sessions.find(token)
    watch.passes(3)
    assert sessions.find(token) is None
    idle, _ = sessions.open("zhang", "guard")
    watch.passes(IDLE_S + 1)
    assert sessions.find(idle) is None
    assert LIFE_S == 2 * IDLE_S


async def test_a_restart_logs_nobody_out_and_keeps_no_token(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "sessions"
    sessions = Sessions(path, ROLES, Ended(), watch)
    token, _ = sessions.open("zhang", "guard")
    code, _ = sessions.open("wang", "technician", by_code=True, account="pi")
    await keep(sessions)
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600

    watch.mono = 5.0  # another boot
    watch.wall += 600.0
    after = Sessions(path, {"zhang": "steward"}, Ended(), watch)
    after.load()

    assert (found := after.find(token)) is not None
    assert (found.name, found.role) == ("zhang", "steward"), "the role is that of the file now"
    assert found.ends == pytest.approx(5.0 + LIFE_S - 600.0)
    assert (found := after.find(code)) is not None
    assert (found.role, found.account) == ("technician", "pi")


async def test_who_hears_that_he_is_logged_in_or_out_stays_so_after_a_kill(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "sessions"
    sessions = Sessions(path, ROLES, Ended(), watch)

    def after_a_kill(token: str) -> bool:
        later = Sessions(path, ROLES, Ended(), watch)
        later.load()
        return later.find(token) is not None

    async with asyncio.TaskGroup() as group:
        running = group.create_task(sessions.run(), name="sessions")
        token, _ = sessions.open("zhang", "guard")
        await sessions.kept()
        assert after_a_kill(token)
        sessions.close(token)
        await sessions.kept()
        assert not after_a_kill(token)
        running.cancel()


async def test_a_disk_that_does_not_answer_keeps_nobody_out(tmp_path: Path) -> None:
    async with asyncio.timeout(5):
        await Sessions(tmp_path / "sessions", ROLES, Ended(), Watch()).kept()


async def test_time_that_passed_while_it_was_off_counts_only_where_the_clock_is_trusted(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "sessions"
    sessions = Sessions(path, ROLES, Ended(), watch)
    token, _ = sessions.open("zhang", "guard")
    await keep(sessions)
    watch.wall += 2 * LIFE_S
    late = Sessions(path, ROLES, Ended(), watch)
    late.load()
    assert late.find(token) is None
    watch.synced = False
    untrusted = Sessions(path, ROLES, Ended(), watch)
    untrusted.load()
    assert untrusted.find(token)


async def test_who_is_no_user_any_more_is_logged_out(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "sessions"
    sessions = Sessions(path, ROLES, Ended(), watch)
    token, _ = sessions.open("zhang", "guard")
    await keep(sessions)
    after = Sessions(path, {"li": "steward"}, Ended(), watch)
    after.load()

    assert after.find(token) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"at": 1, "synced": true, "sessions": {"a": 1}}', b"\0" * 100_000]
)
def test_a_damaged_file_is_nobodys_session(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sessions"
    path.write_bytes(data)
    sessions = Sessions(path, ROLES, Ended(), Watch())
    sessions.load()
    token, _ = sessions.open("zhang", "guard")

    assert sessions.find(token)


def test_there_are_only_so_many_and_the_one_used_least_lately_ends(tmp_path: Path) -> None:
    watch = Watch()
    sessions = Sessions(tmp_path / "sessions", ROLES, Ended(), watch)
    first, _ = sessions.open("zhang", "guard")
    second, _ = sessions.open("zhang", "guard")
    for number in range(MOST - 2):
        watch.passes(1)
        sessions.open(f"li-{number}", "steward")
    watch.passes(1)
    assert sessions.find(first)
    watch.passes(1)
    sessions.open("li", "steward")

    assert sessions.find(first)
    assert sessions.find(second) is None


async def test_a_changed_password_ends_its_sessions_also_over_a_restart(tmp_path: Path) -> None:
    watch, path = Watch(), tmp_path / "sessions"
    ended = Ended()
    sessions = Sessions(path, ROLES, ended, watch)
    zhang, opened = sessions.open("zhang", "guard", mark="old")
    li, _ = sessions.open("li", "steward", mark="same")
    code, _ = sessions.open("wang", "technician", by_code=True)
    await keep(sessions)
    after = Sessions(path, ROLES, Ended(), watch)
    after.load()
    for one in (sessions, after):
        one.check({"li": "same"})
        assert one.find(zhang), "a secret that cannot be read ends nothing"
        one.check({"zhang": "new", "li": "same", "wang": "x"})
        assert one.find(zhang) is None
        assert one.find(li)
        assert one.find(code)

    assert ended.sessions == [opened]


def test_one_name_has_so_many_sessions_and_ends_nobody_elses(tmp_path: Path) -> None:
    watch = Watch()
    sessions = Sessions(tmp_path / "sessions", ROLES, Ended(), watch)
    guard, _ = sessions.open("zhang", "guard")
    tokens = []
    for _ in range(2 * MOST):
        watch.passes(1)
        tokens.append(sessions.open("li", "steward")[0])

    assert sessions.find(guard)
    assert [token for token in tokens if sessions.find(token)] == tokens[-MOST_OF_ONE:]


async def test_a_store_that_cannot_be_written_is_told_and_nothing_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = Sessions(tmp_path / "no" / "sessions", ROLES, Ended(), Watch())
    token, _ = sessions.open("zhang", "guard")
    with suppress(asyncio.CancelledError):
        await keep(sessions)

    assert sessions.find(token)
    assert "restart" in "".join(capsys.readouterr())


def test_a_code_is_used_once_and_within_five_minutes() -> None:
    watch = Watch()
    codes = Codes(watch)
    code = codes.make("wang", "pi")
    late = codes.make("wang", "pi")

    assert codes.use("x" * 43) is None
    assert codes.use(code) == ("wang", "pi")
    assert codes.use(code) is None
    watch.passes(301.0)
    assert codes.use(late) is None


def test_only_so_many_codes_are_good() -> None:
    codes = Codes(Watch())
    first = codes.make("wang", "pi")
    last = [codes.make("wang", "pi") for _ in range(8)][-1]

    assert codes.use(first) is None
    assert codes.use(last) == ("wang", "pi")
