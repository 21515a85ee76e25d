"""ONVIF against a camera with a wrong clock, a wrong host, and worse; real HTTP."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from drivers.pictures import onvif
from drivers.pictures.account import CameraSession, Login
from drivers.pictures.asking import CameraQuestions
from drivers.pictures.bodies import is_jpeg
from drivers.pictures.camera_time import time_told
from drivers.pictures.onvif import NotOnvif
from drivers.pictures.snapshot import Snapshots
from gateway.clock import Clock
from gateway.errors import ConfigError, DeviceRefused
from simulators.cameras.onvif import DEVICE, MEDIA, PICTURE, OnvifCamera
from simulators.cameras.shows import Shows
from tests.cost import least
from tests.drivers.digest_camera import DigestCamera, serving
from tests.secret_texts import SecretText


@asynccontextmanager
async def camera_with(
    password: str = "onvif pass", **more: Any
) -> AsyncIterator[tuple[OnvifCamera, Snapshots, CameraQuestions]]:
    """`host` of its own, unless it is given."""
    services = OnvifCamera("", **more)
    server = DigestCamera(
        {DEVICE: services.answer, MEDIA: services.answer, PICTURE: Shows("yard").answer}, scheme="none"
    )
    async with serving(server):
        services.host = services.host or server.address
        account = CameraSession(Login("yard", server.address, "admin", SecretText(password)))
        questions = CameraQuestions("onvif", account, Clock())
        yield services, Snapshots("yard", "onvif", account, questions=questions), questions


@pytest.mark.parametrize(
    "more", [{}, {"clock_off": 7200.0}, {"clock_off": -86400.0}, {"media2": True}, {"knows_services": False}]
)
async def test_the_picture_is_found_however_wrong_its_clock_is(more: dict[str, Any]) -> None:
    async with camera_with(**more) as (services, mine, _):
        assert is_jpeg(await mine.take())
        asked = len(services.asked)
        assert is_jpeg(await mine.take())
        assert (services.refused, len(services.asked)) == (0, asked)


async def test_an_address_of_another_host_is_asked_at_its_own() -> None:
    async with camera_with() as (services, mine, _):
        services.host = "192.168.1.64"
        assert is_jpeg(await mine.take())


@pytest.mark.parametrize("address", ["rtsp://192.168.1.64/1", "http://camera.example.com/x.jpg", "ftp://1.2.3.4/x"])
async def test_what_is_not_fetched_says_write_snapshot(address: str) -> None:
    async with camera_with(snapshot=address) as (_, mine, _questions):
        with pytest.raises(ConfigError, match="write snapshot"):
            await mine.take()


async def test_a_clock_that_was_set_in_the_meantime_is_asked_anew() -> None:
    async with camera_with(clock_off=3600.0) as (services, _, questions):
        await questions.snapshot_target()
        services.clock_off = 0.0
        assert (await questions.snapshot_target()).startswith(PICTURE)
        assert services.refused == 1


async def test_a_refused_login_is_not_tried_again() -> None:
    async with camera_with("wrong") as (services, mine, _):
        for _ in range(4):
            with pytest.raises(DeviceRefused):
                await mine.take()
        assert services.refused == 1


async def test_a_camera_without_onvif_is_asked_where_makers_keep_pictures() -> None:
    server = DigestCamera({"/onvif/snapshot": Shows("yard").answer}, scheme="none")
    async with serving(server):
        account = CameraSession(Login("yard", server.address))
        questions = CameraQuestions("onvif", account, Clock())
        assert is_jpeg(await Snapshots("yard", "onvif", account, questions=questions).take())


async def test_a_document_type_is_refused() -> None:
    async with camera_with(doctype=True) as (_, mine, _questions):
        with pytest.raises(ConfigError, match="document type"):
            await mine.take()


@pytest.mark.parametrize("off", [0.0, 45.0, -3600.0])
async def test_how_far_its_clock_is_off(off: float) -> None:
    async with camera_with(clock_off=off) as (_, _mine, questions):
        found = await questions.clock_off()
        assert found is not None
        assert abs(found - off) < 2


@pytest.mark.parametrize(
    ("driver", "path", "body", "offset"),
    [
        ("hikvision", "/ISAPI/System/time", b"<Time><localTime>2026-12-01T10:00:00+08:00</localTime></Time>", None),
        ("dahua", "/cgi-bin/global.cgi", b"result=2026-12-01 10:00:00\r\n", 28800.0),
    ],
)
async def test_the_clock_by_the_maker_s_own_way(driver: str, path: str, body: bytes, offset: float | None) -> None:
    async def told(_: web.Request) -> web.Response:
        return web.Response(body=body)

    camera = DigestCamera({path: told}, scheme="none")
    async with serving(camera):
        account = CameraSession(Login("yard", camera.address))
        questions = CameraQuestions(driver, account, Clock(wall=lambda: 1_796_090_400.0 - 40), offset)
        assert await questions.clock_off() == 40.0


@pytest.mark.parametrize(
    ("told", "offset", "found"),
    [
        (b"2026-12-01T02:00:00Z", None, 1_796_090_400.0),
        (b"2026-12-01T10:00:00", 28800.0, 1_796_090_400.0),
        (b"2026-12-01T10:00:00", None, None),
        (b"2026-13-41T10:00:00Z", None, None),
        (b"<!DOCTYPE a>2026-12-01T02:00:00Z", None, None),
        (b"Error", 0.0, None),
    ],
)
def test_a_time_as_it_is_told(told: bytes, offset: float | None, found: float | None) -> None:
    assert time_told(told, offset) == found


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("http://10.0.0.5/onvif/x?a=1", "/onvif/x?a=1"),
        ("http://192.168.1.64:8899/pic", "/pic"),
        ("https://[fe80::1]:443/p", "/p"),
        ("http://10.0.0.5", "/"),
    ],
)
def test_an_address_becomes_a_path(address: str, found: str) -> None:
    assert onvif.at_its_own(address, "http://10.0.0.5:80") == found


@pytest.mark.parametrize(
    "address", ["http://u:p@10.0.0.5/x", "file:///etc/passwd", "http://evil/x", "//10.0.0.5/x", "", "/x"]
)
def test_an_address_that_is_not_followed(address: str) -> None:
    with pytest.raises(NotOnvif):
        onvif.at_its_own(address, "http://10.0.0.5")


HOSTILE = [
    b"", b"<", b"<a/>", b"\x00", b"<a>" * 20_000, b"x" * (onvif.MAX_ANSWER_BYTES + 1),
    "<!DOCTYPE a><a/>".encode("utf-16"),
    '<?xml version="1.0" encoding="cp037"?><a/>'.encode("cp037"), b"<!doctype a [<!entity b 'c'>]><a>&b;</a>",
]  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_answers_are_no_onvif(answer: bytes) -> None:
    for read in (onvif.time_of, onvif.media_of, onvif.profile_of, onvif.snapshot_of):
        with pytest.raises(NotOnvif):
            read(answer)


def is_refused(read: Callable[[bytes], object], answer: str) -> None:
    with pytest.raises(NotOnvif):
        read(answer.encode())


@pytest.mark.parametrize("name", ["Profiles", "Service", "Media", "Uri", "UTCDateTime"])
def test_nested_elements_cost_no_more_than_others(name: str) -> None:
    opening, closing, leaf = f"<{name}>", f"</{name}>", f"<{name}/>"
    for answer in (f"<E>{opening * 4900}{closing * 4900}</E>", f"<E>{opening * 30}{leaf * 9800}{closing * 30}</E>"):
        for read in (onvif.time_of, onvif.media_of, onvif.profile_of, onvif.snapshot_of):
            assert least(partial(is_refused, read, answer)) < 0.1


def test_an_answer_that_is_too_deep() -> None:
    for depth, words in ((31, "no media service"), (32, "too deep")):
        with pytest.raises(NotOnvif, match=words):
            onvif.media_of(b"<E>" + b"<a>" * depth + b"</a>" * depth + b"</E>")


@given(st.binary(max_size=300))
def test_any_bytes_are_no_more_than_no_onvif(answer: bytes) -> None:
    for read in (onvif.time_of, onvif.media_of, onvif.profile_of, onvif.snapshot_of):
        with pytest.raises(NotOnvif):
            read(answer)


def test_the_digest_of_a_username_token() -> None:
    """The example of the ONVIF application programmer's guide."""
    nonce = base64.b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    header = onvif.login("user", "userpassword", nonce, 1_284_621_367.0)
    assert "2010-09-16T07:16:07.000Z" in header
    assert 'PasswordDigest">' in header
    assert "userpassword" not in header
