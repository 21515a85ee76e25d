"""The reader of HTTP by itself: whatever comes, and however it is cut, it ends in one request, a refusal or the end."""

import asyncio
import contextlib
import socket
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.anpr import listener as subject
from drivers.anpr import token_guessing
from drivers.anpr.camera_stats import LAST_BYTES
from drivers.anpr.capture import CameraSettings, Unreadable
from drivers.anpr.http import HEAD_BYTES, LINES, Head, PushRefused, inflated, parse_head
from drivers.anpr.makers import parse
from drivers.anpr.token_guessing import Guesses
from tests.drivers.anpr.case import all_cases
from tests.drivers.anpr.crafted import CRAFTED
from tests.drivers.anpr.pushing import ELSEWHERE, Taker, camera, connected, listening, push, request, until
from tests.secret_texts import SecretText

GOOD = b'{"plate": "\xe9\x84\x82A12345", "confidence": 97}'
names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).filter(
    lambda name: name not in ("content-length", "transfer-encoding", "connection")
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=0x4E2D, exclude_categories=["Cc", "Cs"]), max_size=30)
blanks = st.sampled_from(["", " ", "\t", "  "])


def head(*lines: bytes) -> Head:
    return parse_head(list(lines))


@given(
    st.sampled_from(["GET", "POST", "put", "Post"]), st.lists(st.tuples(names, values, blanks, blanks), max_size=8),
    st.integers(0, 10**9), st.booleans(), blanks,
)  # fmt: skip
def test_a_head_says_the_same_in_any_dress(
    method: str, headers: list[tuple[str, str, str, str]], length: int, twice: bool, trailing: str
) -> None:
    lines = [f"{method} //cameras/c%31?token=a%20b&token=c HTTP/1.1{trailing}".encode()]
    lines += [f"{name}{before}:{behind}{value}".encode() for name, value, before, behind in headers]
    lines += [f"Content-Length: {length}".encode()] * (1 + twice)
    found = parse_head(lines)
    assert (found.method, found.path, found.query["token"]) == (method.upper(), "/cameras/c1", "a b")
    assert (found.length, found.chunked, found.keeps) == (length, False, True)
    for name, value, _, _ in headers:
        first = next(one for other, one, _, _ in headers if other == name)
        assert found.headers[name] == first.strip(" \t")[:] or value != first or first.strip() == found.headers[name]


@given(st.integers(0, 999), st.integers(0, 999))
def test_two_readers_never_differ_about_where_a_body_ends(one: int, other: int) -> None:
    lengths = (b"Content-Length: %d" % one, b"content-length : %d" % other)
    if one == other:
        assert head(b"POST / HTTP/1.1", *lengths).length == one
    else:
        with pytest.raises(PushRefused, match="framing"):
            head(b"POST / HTTP/1.1", *lengths)
    for coding in (b"Transfer-Encoding: chunked", b"transfer-encoding:\tgzip, chunked", b"Transfer-Encoding: chunked "):
        with pytest.raises(PushRefused, match="framing"):
            head(b"POST / HTTP/1.1", lengths[0], coding)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=12))
@settings(max_examples=500)
def test_any_lines_are_a_head_or_refused(lines: list[bytes]) -> None:
    try:
        found = parse_head(lines)
    except PushRefused:
        return
    assert found.length is None or found.length >= 0


@given(st.binary(max_size=2000), st.sampled_from(["deflate", "gzip", "br", "identity", "", "DEFLATE", "x"]))
def test_what_is_packed_is_unpacked_or_unreadable(body: bytes, coding: str) -> None:
    packer = zlib.compressobj(wbits=-15)
    for packed in (body, zlib.compress(body), packer.compress(body) + packer.flush()):
        try:
            found = inflated(packed, coding, 4096)
        except Unreadable:
            continue
        assert len(found) <= 4096 or coding in ("", "identity")
    if coding.lower() == "deflate":
        assert inflated(zlib.compress(body), coding, 4096) == body


def test_a_bomb_is_not_unpacked() -> None:
    begun = time.process_time()
    with pytest.raises(Unreadable, match="too large"):
        inflated(zlib.compress(bytes(200 << 20)), "deflate", 4 << 20)
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize("name", CRAFTED)
def test_no_body_costs_more_than_it_is_long(name: str) -> None:
    """At the limit of its size, however it is made: else one camera holds up the others."""
    driver, body, content_type = CRAFTED[name]
    begun = time.thread_time()
    for _ in range(2):
        with contextlib.suppress(Unreadable):
            parse(driver, body, content_type, "/", CameraSettings(0.0))
    assert (time.thread_time() - begun) / 2 < 0.2


SMALL = [case for case in all_cases() if not case.stream and len(case.payload) < 4096]
pieces = st.one_of(
    st.sampled_from(SMALL).map(lambda one: request(f"/cameras/{one.driver}", one.payload, "x/y")),
    st.just(request("/cameras/generic", GOOD)),
    st.just(request("/cameras/generic", b"no JSON")),
    st.just(request("/cameras/generic?token=x", b"", method="GET")),
    st.just(request("/cameras/none", GOOD)),
    st.just(request("/cameras/generic", GOOD, method="DELETE")),
    st.just(b"POST /cameras/generic HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    st.just(b"\r\n\r\n"),
    st.binary(min_size=1, max_size=40),
)


@given(st.lists(pieces, min_size=1, max_size=8), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_what_goes_in_is_the_sum_of_the_counters(requests: list[bytes], step: int) -> None:
    """Every answer, and every request that was broken off, is counted once, with its camera or as a stranger's."""

    async def one() -> None:
        take = Taker()
        drivers = ("generic", *sorted({case.driver for case in SMALL} - {"generic"}))
        async with listening([camera(driver, driver) for driver in drivers], take) as listener:
            answers = 0
            async with connected(listener.port) as line:
                raw = b"".join(requests)
                for at in range(0, len(raw), step):
                    line.writer.write(raw[at : at + step])
                line.writer.write_eof()
                try:
                    while True:
                        await line.answer()
                        answers += 1
                except (EOFError, ConnectionError):
                    pass
            told = listener.snapshot()
            assert sum(map(accounted, told.values())) + listener.strangers.total() == answers
            assert all(accounted(one) == one["pushes"] for one in told.values())
            assert sum(int(one["passages"] or 0) for one in told.values()) == len(take.pushes)

    asyncio.run(one())


def accounted(told: Any) -> int:
    return sum(int(told[name]) for name in ("passage_pushes", "heartbeats", "ignored", "unreadable", "refused"))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_a_push_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    async def one() -> None:
        take = Taker()
        async with listening([camera("generic")], take) as listener, connected(listener.port) as line:
            raw, at = request("/cameras/c1", GOOD, "application/json"), 0
            for cut in cuts:
                line.writer.write(raw[at : at + cut])
                at += cut
                await asyncio.sleep(0)
            line.writer.write(raw[at:])
            assert (await line.answer()).status == 200
        assert take.plates == ["鄂A12345"]

    asyncio.run(one())


async def test_who_guesses_tokens_waits_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty in a minute raise the alarm; the camera with the right token is answered at once meanwhile."""
    monkeypatch.setattr(token_guessing, "FREE", 2)
    take = Taker()

    def times_told() -> int:
        return [told[:2] for told in take.alarms].count(("c1/camera-token", False))

    async with listening([camera("generic", token=SecretText("right"))], take) as listener:
        loop = asyncio.get_running_loop()

        async def guess() -> None:
            for _ in range(3):
                with contextlib.suppress(EOFError, ConnectionError):  # hung up on
                    assert (await push(listener.port, "/cameras/c1?token=wrong", GOOD)).status == 401

        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(guess(), name="guess")
            await until(times_told, 20.0)
            asked = loop.time()
            assert (await push(listener.port, "/cameras/c1?token=right", GOOD)).status == 200
            assert loop.time() - asked < 1.0
        assert times_told() == 1
        assert loop.time() - begun > 1.0
        assert listener.snapshot()["c1"]["refused_token"] == 24
    assert take.plates == ["鄂A12345"]


def test_the_alarm_of_guesses_ends_a_minute_after_the_last() -> None:
    taker = Taker()

    def told() -> list[bool]:
        return [well for _, well, _ in taker.alarms]

    one = Guesses("c1", taker)
    delays = [one.wrong(float(second)) for second in range(20)]
    assert delays[:10] == [0.0] * 10
    assert sorted(delays) == delays
    assert told() == [False]
    one.look(78.9)
    assert told() == [False]
    one.look(79.1)
    assert told() == [False, True]
    assert one.wrong(100.0) == 0.0
    assert [one.wrong(200.0 + 4 * number) for number in range(40)][-1] < 2.0
    assert told() == [False, True], "fifteen a minute are no alarm"


async def test_a_camera_may_be_silent_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a connection that has pushed; who never said a word is closed."""
    assert subject._IDLE_S >= 3600.0  # noqa: SLF001 - nobody waits for an hour here
    monkeypatch.setattr(subject, "_SILENT_S", 0.2)
    take = Taker()
    async with (
        listening([camera("generic")], take) as listener,
        connected(listener.port) as known,
        connected(listener.port) as silent,
    ):
        known.writer.write(request("/cameras/c1", GOOD))
        await known.answer()
        async with asyncio.timeout(5):
            assert await silent.reader.read() == b""
        known.writer.write(request("/cameras/c1", GOOD))
        assert (await known.answer()).status == 200


async def test_three_that_cannot_be_read_are_an_alarm_and_the_last_is_kept() -> None:
    take = Taker()
    told = take.alarms
    async with listening([camera("generic"), camera("generic", "c2", ELSEWHERE)], take) as listener:
        for number in range(2):
            await push(listener.port, "/cameras/c1", b"spoilt %d" % number)
        await push(listener.port, "/cameras/c1", GOOD)
        assert told == [("c1/camera-unreadable", True, "")], "one that stood before a restart ends with the first good"
        for number in range(4):
            await push(listener.port, "/cameras/c1/x", b"x" * (70_000 + number), "text/odd")
        await push(listener.port, "/cameras/c1", b'{"heartbeat": 1}')
        last = listener.unreadable("c1")
        assert listener.unreadable("c2") is None
        listener.forget()
        assert listener.unreadable("c1") is None, "it may name who asked to be forgotten"
    assert [(alarm, well) for alarm, well, _ in told[1:]] == [
        ("c1/camera-unreadable", False), ("c1/camera-unreadable", True)
    ]  # fmt: skip
    assert last is not None
    assert (last.size, len(last.body), last.path, last.content_type) == (70_003, LAST_BYTES, "/x", "text/odd")


def test_the_bounds_are_small() -> None:
    assert HEAD_BYTES <= 16 << 10
    assert LINES <= 64


UNENDED = {
    "half a request line": b"POST /cam",
    "half a head": b"POST /cameras/c1 HTTP/1.1\r\nContent-Le",
    "half a body": b"POST /cameras/c1 HTTP/1.1\r\nContent-Length: 500\r\n\r\n" + GOOD,
    "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
    "CR alone": request("/cameras/c1", GOOD).replace(b"\r\n", b"\r"),
}


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("begun", UNENDED.values(), ids=UNENDED)
async def test_what_was_begun_and_broken_off_is_counted(begun: bytes, *, reset: bool) -> None:
    take = Taker()
    async with listening([camera("generic")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(begun)
            await line.writer.drain()
            await until(lambda: listener.connections)
            if reset:
                plug: socket.socket = line.writer.get_extra_info("socket")
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                line.writer.transport.abort()
        await until(lambda: listener.snapshot()["c1"]["refused"] == 1)
        assert listener.snapshot()["c1"]["pushes"] == 1
    assert take.pushes == []


async def test_a_body_that_nothing_announces_is_taken() -> None:
    """Neither a length nor a type; what begins as a request behind such a head is the next one."""
    take = Taker()
    bare = b"POST /cameras/c1 HTTP/1.1\r\n\r\n"
    async with listening([camera("generic")], take) as listener:
        async with connected(listener.port) as line:
            line.writer.write(bare + GOOD)
            assert (await line.answer()).status == 200
        async with connected(listener.port) as line:
            line.writer.write(bare + request("/cameras/c1", GOOD))
            assert [(await line.answer()).status for _ in range(2)] == [200, 200]
        told = listener.snapshot()["c1"]
    assert (told["pushes"], told["passages"], told["ignored_test"]) == (3, 2, 1)


@pytest.mark.parametrize("coding", ["UTF-8", "gb2312", "gzip", "deflate", "binary"])
def test_a_coding_that_was_not_done_costs_no_push(coding: str) -> None:
    assert inflated(GOOD, coding, 1 << 20) == GOOD
