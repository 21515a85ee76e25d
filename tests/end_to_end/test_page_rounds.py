"""Rounds on the page of a real gateway: who sees and does what, an answer with a photo, and what is no photo."""

import base64
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.end_to_end.browsing import Browser, listening
from tests.end_to_end.compound import Compound, compound
from tests.end_to_end.process import GatewayProcess, running
from tests.end_to_end.test_page import page_of, page_site, with_page
from tests.end_to_end.test_rounds import SITE, jpeg, well

LOOK, TRY = "person:看一眼泵房", "person:试泵"
CODE = "pump-room-42"
MIB = 1 << 20


def most_held(gateway: GatewayProcess) -> int:
    """The most memory that it ever held, bytes (`VmHWM` of proc(5))."""
    status = Path(f"/proc/{gateway.pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


@asynccontextmanager
async def rounds_page(folder: Path) -> AsyncIterator[tuple[Compound, str, GatewayProcess]]:
    (folder / "code").write_text(CODE)
    (folder / "code").chmod(0o600)
    async with compound(folder, with_page(SITE, folder)) as it, running(it.site) as gateway:
        base = page_of(it.site)
        await listening(base)
        await well(it)
        yield it, base, gateway


async def test_a_round_is_begun_answered_acknowledged_and_kept(tmp_path: Path) -> None:
    async with rounds_page(tmp_path) as (it, base, _), Browser(base) as steward, Browser(base) as guard:
        it.virtual.set("hydrant.pressure", 0.05)
        await steward.log_in("li", "password of li")
        await guard.log_in("zhang", "password of zhang")
        async with guard.looking() as seen, Browser(base) as nobody:
            assert (await nobody.get("/rounds"))[0] == 401
            refused = (await guard.do(seen, "inspection.run", round="nightly"))[1]
            assert refused["error"]["code"] == "not-allowed"
            run = (await steward.do(seen, "inspection.run", round="nightly"))[1]["result"]["run"]
            asked = await seen.until(lambda state: state["rounds"]["nightly"]["run"]["asked"])
            assert [(one["item"], one["photo"], one.get("place")) for one in asked] == [
                (LOOK, True, "pump-room"), (TRY, False, None)
            ]  # fmt: skip
            assert seen.state["places"]["pump-room"] == {"name": "泵房", "tag": "printed"}
            photo = {"run": run, "item": LOOK, "ok": True, "photo": jpeg(1)}
            for wrong in ({"tag": "guessed"}, {"tag": CODE, "place": "cellar"}):
                assert (await guard.do(seen, "inspection.answer", **photo, **wrong))[1]["error"]["code"] == "bad-args"
            done = (await guard.do(seen, "inspection.answer", **photo, place="pump-room", tag=CODE, note="干净"))[1]
            assert done["result"] == {"outcome": "normal"}, done
            item = await seen.until(lambda state: state["rounds"]["nightly"]["run"]["items"][LOOK])
            assert item == {"outcome": "normal", "value": True}
            low = await seen.until(_low)
            assert seen.state["findings"][low]["reason"] == "below"
            assert (await guard.do(seen, "finding.acknowledge", finding=low, **{"class": "major"}))[1]["ok"]
            await seen.until(lambda state: state["findings"][low]["acknowledged_at"])
            assert seen.state["findings"][low]["class"] == "major"
            assert (await steward.do(seen, "inspection.cancel", round="nightly"))[1]["ok"]
            await seen.until(lambda state: "run" not in state["rounds"]["nightly"])
            for word in ("zhang", "干净", CODE):
                assert word not in str(seen.state), "told to everybody"
        status, told = await guard.get("/rounds?limit=1")
        assert status == 200
        (kept,) = told["runs"]
        assert (kept["type"], kept["data"]["run"]) == ("inspection.finished", run)
        items = {one["item"]: one for one in kept["data"]["items"]}
        assert items[TRY]["reason"] == "cancelled"
        evidence = items[LOOK]["evidence"]
        assert (evidence["by"], evidence["presence"], evidence["text"]) == ("zhang", "printed", "干净")
        assert "zhang" in [one["acknowledged_by"] for one in told["now"]["findings"]]
        status, picture = await guard.get(f"/pictures/{items[LOOK]['pictures'][0]}")
        assert (status, picture[:3]) == (200, b"\xff\xd8\xff")
        assert b"GPS" not in picture
        _, audit = await guard.get("/audit?by=zhang&limit=5")
        assert "picture" in [one["data"]["what"] for one in audit["events"] if one["type"] == "person.viewed"]
        for query in ("limit=0", "limit=21", "before=x"):
            assert (await guard.get(f"/rounds?{query}"))[0] == 400


def _low(state: Any) -> str | None:
    """The finding about the pressure."""
    return next((id_ for id_, one in state["findings"].items() if one["item"] == "point:hydrant.pressure"), None)


def png(side: int) -> bytes:
    """A picture that is small as a file and huge once it is drawn."""
    out = BytesIO()
    Image.new("1", (side, side)).save(out, "PNG")
    return out.getvalue()


def huge_jpeg() -> bytes:
    """A small JPEG whose header says 10000 x 10000."""
    data = bytearray(base64.b64decode(jpeg(3)))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (10_000).to_bytes(2, "big") * 2
    return bytes(data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>fetch("/do")</script></svg>'
HOSTILE = {
    "100 megapixels": png(10_000), "100 megapixels by its header": huge_jpeg(), "an SVG with a script": SVG,
    "a page": b"<!doctype html><script>alert(1)</script>", "no bytes": b"",
    "half a JPEG": base64.b64decode(jpeg(4))[:3000],
    "a GIF that is a script": b"GIF89a/*" + SVG + b"*/=1", "compressed nothing": zlib.compress(bytes(MIB)),
    "the beginning of a JPEG and a page": b"\xff\xd8\xff\xe0" + SVG * 100,
}  # fmt: skip


async def test_what_is_no_photo_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    async with rounds_page(tmp_path) as (_, base, gateway), Browser(base) as guard:
        await guard.log_in("li", "password of li")
        async with guard.looking() as seen:
            run = (await guard.do(seen, "inspection.run", round="nightly"))[1]["result"]["run"]
            answer = {"run": run, "item": LOOK, "ok": True}
            before = most_held(gateway)
            for name, data in HOSTILE.items():
                photo = base64.b64encode(data).decode()
                reply = (await guard.do(seen, "inspection.answer", **answer, photo=photo))[1]
                assert reply.get("error", {}).get("code") == "bad-args", (name, reply)
            assert most_held(gateway) - before < 24 * MIB
            polyglot = base64.b64decode(jpeg(5)) + SVG
            photo = base64.b64encode(polyglot).decode()
            reply = (await guard.do(seen, "inspection.answer", **answer, photo=photo))[1]
            assert reply["result"] == {"outcome": "normal"}, "drawn anew: nothing of the script is kept"
            assert (await guard.do(seen, "inspection.cancel", round="nightly"))[1]["ok"]
            await seen.until(lambda state: "run" not in state["rounds"]["nightly"])
        told = (await guard.get("/rounds?limit=1"))[1]["runs"][0]["data"]["items"]
        picture = next(one["pictures"][0] for one in told if one["item"] == LOOK)
        status, kept = await guard.get(f"/pictures/{picture}")
        assert status == 200
        assert b"script" not in kept


async def test_a_site_without_rounds_has_none(tmp_path: Path) -> None:
    async with page_site(tmp_path) as (_, base, _), Browser(base) as guard:
        await guard.log_in("zhang", "password of zhang")
        assert (await guard.get("/rounds"))[0] == 404
        async with guard.looking() as seen:
            assert not {"rounds", "findings", "places"} & seen.state.keys()


@pytest.mark.parametrize("path", ["/devices/smoke-1", "/devices/hydrant"])
async def test_a_devices_register_table_is_told_to_who_is_logged_in(tmp_path: Path, path: str) -> None:
    async with rounds_page(tmp_path) as (_, base, _), Browser(base) as guard:
        assert (await guard.get(path))[0] == 401
        await guard.log_in("zhang", "password of zhang")
        status, told = await guard.get(path)
        assert status == 200
        assert "0" in str(told["points"])
        assert (await guard.get("/devices/nothing"))[0] == 404
