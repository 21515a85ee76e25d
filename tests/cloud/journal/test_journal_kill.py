import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from gateway.model import Stream
from tests.cloud import journal_victim
from tests.cloud.journaling import all_of, event, journal, look

KILLS = 12
ROOT = Path(__file__).parents[3]


def run_and_kill(folder: Path, after: float) -> list[list[str]]:
    """Let the victim live for `after` seconds from its first word; what it said."""
    command = [sys.executable, journal_victim.__file__, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        select.select([victim.stdout], [], [], 20.0)
        deadline = time.monotonic() + after
        said = b""
        while (left := deadline - time.monotonic()) > 0:
            if select.select([victim.stdout], [], [], left)[0]:
                said += os.read(victim.stdout.fileno(), 65536)
        victim.kill()
        said += victim.stdout.read()
    whole, _, _ = said.rpartition(b"\n")
    return [line.split() for line in whole.decode().splitlines()]


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_instants(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a repeatable chance
    accepted = 0
    sent: dict[tuple[str, int], str] = {}
    for _ in range(KILLS):
        said = run_and_kill(tmp_path, chance.uniform(0.0, 0.25))
        for word, *rest in said:
            if word == "B":
                # Every accepted step is there, and no later one is: the memory says so.
                assert int(rest[0]) >= accepted
            elif word == "A":
                accepted = max(accepted, int(rest[0]))
            elif word in {stream.value for stream in Stream}:  # and no line of the log
                key = rest[0], int(rest[1])
                # One number, one event, over all lives.
                assert sent.setdefault(key, rest[2]) == rest[2]
    assert accepted > KILLS
    async with journal(tmp_path) as store:
        step = store.memory["step"]
        assert isinstance(step, int)
        assert step >= accepted
        waiting = {stream: await all_of(store, stream) for stream in Stream}
    events = look(tmp_path, "SELECT stream, sequence, unpacked(payload) FROM event ORDER BY n")
    by_stream = {stream: [row[1:] for row in events if row[0] == number] for number, stream in enumerate(Stream)}
    for stream, number in ((Stream.ALARM, 2 * step), (Stream.AUDIT, step)):
        mine = [row for row in by_stream[stream] if "step" in orjson.loads(row[1])["data"]]
        others = len(by_stream[stream]) - len(mine)
        assert [sequence for sequence, _ in by_stream[stream]] == list(range(1, number + others + 1))
        # Whole steps only, each once, in order.
        steps = [orjson.loads(payload)["data"]["step"] for _, payload in mine]
        assert steps == [one for one in range(1, step + 1) for _ in range(number // step)]
    for stream, rows in waiting.items():
        for row in rows:
            assert sent.get((stream.value, row.sequence), event(row)["id"]) == event(row)["id"]
    check_telemetry(by_stream[Stream.TELEMETRY], by_stream[Stream.AUDIT], sent)


def check_telemetry(
    kept: list[tuple[int, bytes]], audit: list[tuple[int, bytes]], sent: dict[tuple[str, int], str]
) -> None:
    """No number stands for two events, and every number that is missing is named."""
    numbers = {sequence: orjson.loads(payload)["id"] for sequence, payload in kept}
    for (stream, sequence), name in sent.items():
        if stream == "telemetry":
            assert numbers.setdefault(sequence, name) == name
    named: set[int] = set()
    for _, payload in audit:
        read = orjson.loads(payload)
        if read["type"] == "sitegateway.stream.shed.v1":
            gap = read["data"]
            assert (gap["stream"], gap["reason"]) == ("telemetry", "crash")
            assert gap["count"] == gap["last"] - gap["first"] + 1
            named |= set(range(gap["first"], gap["last"] + 1))
    assert named
    assert {sequence for sequence, _ in kept}.isdisjoint(named)
    assert set(range(1, max(numbers) + 1)) <= set(numbers) | named
