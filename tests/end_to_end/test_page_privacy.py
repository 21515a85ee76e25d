"""Who is not logged in: no plate, no picture, no name of a person, in any answer of any path, right or wrong."""

import asyncio
import itertools
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

from tests.end_to_end.browsing import Browser, listening
from tests.end_to_end.camera_site import camera_site, site_text
from tests.end_to_end.process import running
from tests.end_to_end.test_page import page_of, with_page
from tests.end_to_end.test_page_hostile import costs_in_the_docs, head, raw, status_of

PLATES = ("沪C99988", "皖K12345")
SAID = "让张师傅进来"
"""What a guard wrote beside a press."""
SECRETS = (*PLATES, *(plate[1:] for plate in PLATES), "zhang", "wang", '"li"', SAID)
ASKED = (*PLATES, "zhang", "", "x" * 257, "\0", "l-cam", "1", "200", "csv", "*", "'", "../../etc/passwd")
NAMES = ("id", "before", "limit", "stream", "alarm", "point", "hours", "by", "cmd", "format", "line", "seconds", "from")
REQUESTS = 400


async def test_nobody_hears_of_a_plate_a_picture_or_a_person(tmp_path: Path) -> None:
    text = with_page(site_text({"cam": "driver: hikvision, mode: push"}), tmp_path)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(camera_site(tmp_path, text))
        await stack.enter_async_context(running(site.it.site))
        base = page_of(site.it.site)
        guard, nobody = [await stack.enter_async_context(Browser(base)) for _ in range(2)]
        await listening(base)
        await site.ready()
        await guard.log_in("zhang", "password of zhang")
        seen, public = [await stack.enter_async_context(one.looking()) for one in (guard, nobody)]
        for plate in PLATES:
            await site.sees("cam", plate)
        await public.until(lambda state: len(state["passages"]) == len(PLATES))
        passage = next(iter(public.state["passages"]))
        assert (await guard.do(seen, "gate.open", gate="g-cam", reason=SAID, passage=passage))[1]["ok"]
        told = (await guard.get(f"/passages?id={passage}"))[1]["passages"][0]
        assert told["plate"] == PLATES[0], "there is something to be hidden"
        async with asyncio.timeout(10):
            while (found := await guard.get(f"/pictures/{told['pictures'][0]}"))[0] != 200:
                await asyncio.sleep(0.05)

        answers = await all_that_nobody_can_ask(base, [passage, *told["pictures"], *ASKED])
        answers.append(json.dumps(public.state, ensure_ascii=False).encode())
        for answer in answers:
            assert [secret for secret in SECRETS if secret.encode() in answer] == [], answer
            assert [secret for secret in SECRETS if json.dumps(secret)[1:-1].encode() in answer] == [], answer
            assert found[1][:64] not in answer
        events = (await guard.get("/audit?limit=200"))[1]["events"]
        viewed = [one["data"] for one in events if one["type"] == "person.viewed"]
        assert [(one["by"], one["what"]) for one in viewed] == [("zhang", "picture"), ("zhang", "plate")], "each, once"


async def all_that_nobody_can_ask(base: str, ids: list[str]) -> list[bytes]:
    """The bodies of the answers to any path with any arguments."""
    chance = random.Random(7)  # noqa: S311 - the same each time
    sources = itertools.cycle(f"127.0.10.{number}" for number in range(1, 120))
    paths = [*costs_in_the_docs(), "GET /nothing", "PUT /do"]
    paths.remove("GET /events")  # a page that looks on reads it
    statuses, answers = set(), []
    for _ in range(REQUESTS):
        method, path = chance.choice(paths).split()
        path += quote(chance.choice(ids)) if path.endswith("/") and path != "/" else ""
        query = "&".join(f"{name}={quote(chance.choice(ids))}" for name in chance.sample(NAMES, chance.randrange(4)))
        asked = {
            "name": chance.choice(ids),
            "password": chance.choice(["x", 7]),
            "cmd": "access.who",
            "args": {"plate": chance.choice(ids)},
        }
        body = json.dumps(asked).encode()
        marks = [f"Cookie: site-gateway={quote(chance.choice(ids))}", "X-Site-Gateway: 1", f"Origin: {base}"]
        length = ["Content-Type: application/json", f"Content-Length: {len(body)}"] if method == "POST" else []
        host = chance.choice([base.removeprefix("http://")] * 4 + ["evil.example"])
        ask = head(f"{method} {path}?{query}", *marks, *length, host=host)
        said = await raw(base, ask + (body if length else b""), next(sources))
        statuses.add(status_of(said))
        answers.append(said.partition(b"\r\n\r\n")[2])
    assert statuses >= {200, 400, 401, 404, 405, 421}, "of each kind one"
    return answers
