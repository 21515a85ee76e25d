import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.clock import Clock
from gateway.errors import ConfigError
from gateway.local import passwords
from gateway.local.http import HttpAnswer, HttpRequest, Route
from gateway.local.passwords import Busy, Delays, Passwords, TooEarly, fits, hashed
from gateway.settings.types import PageUser
from tests.local.test_http import serving
from tests.secret_texts import SecretText

HERE, THERE = "192.168.1.5", "192.168.1.6"
SECRET = hashed("correct horse", bytes(16))


class Wrist:
    """A watch that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def users(watch: Wrist, secret: str = SECRET) -> Passwords:
    return Passwords({"zhang": PageUser("guard", SecretText(secret))}, Clock(mono=watch))


@asynccontextmanager
async def at_work(watch: Wrist) -> AsyncIterator[Passwords]:
    them = users(watch)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(them.run(), name="logins")
        yield them
        task.cancel()


def test_a_secret_fits_its_password_alone_and_never_looks_alike() -> None:
    assert fits("correct horse", SECRET)
    assert not fits("correct hors", SECRET)
    assert hashed("correct horse") != SECRET
    assert SECRET.startswith("$scrypt$ln=14,r=8,p=5$")


def test_a_known_hash_is_understood() -> None:
    """RFC 7914, 12: N = 1024, r = 8, p = 16 is beyond what a file may ask; this one is of Python's own scrypt."""
    salt = b"sodium chloride"
    secret = hashed("pleaseletmein", salt)

    assert hashed("pleaseletmein", salt) == secret
    assert fits("pleaseletmein", secret)


def test_a_plain_secret_fits_too() -> None:
    assert fits("simple", "simple")
    assert not fits("simple", "Simple")


@pytest.mark.parametrize(
    "secret",
    [
        "$scrypt$",
        "$scrypt$ln=14,r=8,p=5$c2FsdHNhbHQ$short",
        SECRET.replace("ln=14", "ln=30"),
        SECRET.replace("ln=14", "ln=0"),
    ],
)
def test_a_damaged_secret_is_said_so(secret: str) -> None:
    with pytest.raises(ConfigError, match="site-gateway passwd"):
        fits("correct horse", secret)


def test_delays_double_up_to_a_minute_and_are_forgotten() -> None:
    delays = Delays()
    waits = []
    now = 0.0
    for _ in range(9):
        delays.failed("x", now)
        waits.append(delays.left("x", now))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert delays.left("x", now) == 0.0
    assert delays.left("y", now) == 0.0
    delays.failed("x", now)
    assert delays.left("x", now + 3601) == 0.0
    delays.forget("x")
    delays.failed("x", now)
    assert delays.left("x", now) == 1.0


def test_what_is_remembered_of_guesses_is_bounded() -> None:
    delays = Delays()
    for number in range(10_000):
        delays.failed(str(number), 0.0)

    assert delays.left("0", 0.0) == 0.0
    assert delays.left("9999", 0.0) == 1.0


async def test_who_is_right_gets_the_role_and_who_is_wrong_waits() -> None:
    watch = Wrist()
    async with at_work(watch) as them:
        assert await them.role_of("zhang", "correct horse", HERE) == "guard"
        assert await them.role_of("zhang", "wrong", HERE) is None
        with pytest.raises(TooEarly) as early:
            await them.role_of("zhang", "correct horse", HERE)
        assert early.value.seconds == 1.0
        watch.now += 1.0
        assert await them.role_of("zhang", "correct horse", HERE) == "guard"


async def test_nobody_elsewhere_keeps_a_guard_waiting_wherever_he_is() -> None:
    watch = Wrist()
    async with at_work(watch) as them:
        for _ in range(8):
            assert await them.role_of("zhang", "wrong", THERE) is None
            watch.now += 60.0
        assert await them.role_of("zhang", "wrong", THERE) is None

        with pytest.raises(TooEarly):
            await them.role_of("zhang", "wrong", THERE)
        assert await them.role_of("zhang", "correct horse", "192.168.1.7") == "guard", "on a new phone"
        assert await them.role_of("zhang", "correct horse", HERE) == "guard"


async def test_where_a_guard_has_been_only_his_own_name_is_waited_for() -> None:
    watch = Wrist()
    async with at_work(watch) as them:
        assert await them.role_of("zhang", "correct horse", HERE) == "guard"
        assert await them.role_of("somebody", "wrong", HERE) is None
        assert await them.role_of("zhang", "correct horse", HERE) == "guard"
        assert await them.role_of("zhang", "wrong", HERE) is None
        with pytest.raises(TooEarly):
            await them.role_of("zhang", "correct horse", HERE)


async def test_whoever_logs_in_right_clears_no_failures_of_another_name() -> None:
    watch = Wrist()
    secrets = {"zhang": SECRET, "wang": hashed("my own", bytes(16))}
    them = Passwords({name: PageUser("guard", SecretText(one)) for name, one in secrets.items()}, Clock(mono=watch))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(them.run(), name="logins")
        for wait in (1.0, 2.0, 4.0):
            assert await them.role_of("zhang", "wrong", HERE) is None
            watch.now += 0.5
            with pytest.raises(TooEarly) as early:
                await them.role_of("zhang", "wrong", HERE)
            assert early.value.seconds == wait - 0.5
            watch.now += wait
            assert await them.role_of("wang", "my own", HERE) == "guard"
        task.cancel()


async def test_strangers_together_get_so_many_verifications_and_who_has_not_failed_goes_first() -> None:
    watch = Wrist()
    async with at_work(watch) as them:
        for number in range(8):
            assert await them.role_of("zhang", "wrong", f"10.0.0.{number}") is None
        watch.now += 1.5  # the delay of each is over, and one verification is there
        assert await them.role_of("zhang", "wrong", "10.0.0.99") is None
        ends: list[str] = []

        async def knock(password: str, address: str) -> None:
            try:
                ends.append(f"{address} {await them.role_of('zhang', password, address)}")
            except Busy:
                ends.append(f"{address} busy")

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(knock("wrong", f"10.0.0.{number}"), name="knock")
            await asyncio.sleep(0.05)
            assert ends == [], "the eight verifications at once are used up"
            guard = group.create_task(knock("correct horse", "192.168.1.7"), name="guard")
            await asyncio.sleep(0)
            watch.now += 1.0
            await guard
            assert ends == ["10.0.0.0 busy", "192.168.1.7 guard"], "the eighth that waits has made room"
            watch.now += 100.0


async def test_a_name_that_is_not_there_takes_as_long_and_waits_alike() -> None:
    async with at_work(Wrist()) as them:
        began = time.perf_counter()
        assert await them.role_of("nobody", "wrong", HERE) is None
        unknown = time.perf_counter() - began
        began = time.perf_counter()
        assert await them.role_of("zhang", "wrong", THERE) is None
        known = time.perf_counter() - began

        assert 0.2 < unknown / known < 5.0
        with pytest.raises(TooEarly):
            await them.role_of("somebody", "wrong", HERE)


async def test_one_is_verified_at_a_time_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most = 0, 0

    def slow(_password: str, _secret: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        hashlib.scrypt(b"x", salt=b"x", n=1 << 13, r=8, p=1)
        at_once -= 1
        return False

    monkeypatch.setattr(passwords, "fits", slow)
    watch = Wrist()
    async with at_work(watch) as them:
        ends: list[str] = []

        async def knock(address: str) -> None:
            try:
                ends.append(str(await them.role_of("", "x", address)))
            except (Busy, TooEarly) as no:
                ends.append(type(no).__name__)

        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(knock(f"10.0.0.{number}"), name="knock")

        assert most == 1
        assert ends.count("Busy") == 92
        assert ends.count("None") == 8


async def test_who_drops_the_connection_is_still_verified_one_at_a_time_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, most, done = 0, 0, threading.Semaphore(0)

    def slow(_password: str, _secret: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        hashlib.scrypt(b"x", salt=b"x", n=1 << 13, r=8, p=2)
        running -= 1
        done.release()
        return False

    monkeypatch.setattr(passwords, "fits", slow)
    async with at_work(Wrist()) as them:

        async def log_in(request: HttpRequest) -> HttpAnswer:
            await them.role_of("zhang", "guess", request.headers["From"])
            return HttpAnswer(200, "text/plain", b"")

        async with serving({"/login": Route(post=log_in)}) as listener:
            for number in range(4):
                _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
                head = f"POST /login HTTP/1.1\r\nHost: localhost\r\nFrom: {number}\r\nContent-Length: 0\r\n\r\n"
                writer.write(head.encode())
                async with asyncio.timeout(5):
                    while not running and number == 0:
                        await asyncio.sleep(0.001)
                writer.transport.abort()
            assert await asyncio.to_thread(done.acquire, timeout=5)
            with pytest.raises(TooEarly):
                await them.role_of("zhang", "guess", "0")
    assert most == 1


@pytest.mark.parametrize("secrets", [("simple", "other"), (SECRET, hashed("correct horse"))])
def test_a_mark_tells_one_secret_from_another_and_is_no_quick_hash(secrets: tuple[str, str]) -> None:
    marks = [users(Wrist(), secret).marks()["zhang"] for secret in (secrets[0], *secrets)]

    assert marks[0] == marks[1] != marks[2]
    assert hashlib.sha256(b"simple").hexdigest() not in marks


async def test_a_plain_secret_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    await users(Wrist(), "simple").tell_plain()

    told = "".join(capsys.readouterr())
    assert "zhang" in told
    assert "simple" not in told
