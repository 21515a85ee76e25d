"""Commands over a real broker: what is signed moves a gate once, and nothing else moves anything."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulators.signing import Signer
from tests.end_to_end.at_a_time import SYNCED, UNSYNCED
from tests.end_to_end.compound import HEAD, RELAY, SOURCE, Compound, compound
from tests.end_to_end.process import running

SITE = f"""\
{HEAD}
lines:
  gate-io: {{driver: modbus, tcp: "127.0.0.1:1"}}
  far-io: {{driver: modbus, tcp: "127.0.0.1:2"}}
devices:
  relay:
    line: gate-io
    unit: 1
{RELAY}
  far:
    line: far-io
    unit: 1
    limits: {{timeout: 300ms}}
{RELAY}
gates:
  north: {{open: relay.do1, pulse: 300ms}}
  far: {{open: far.do1}}
"""
NORTH = {"gate": "north", "reason": "test"}


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def changed(token: str) -> str:
    """The same signature over other claims."""
    header, claims, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    told["args"]["gate"] = "far"
    return ".".join((header, encoded(json.dumps(told).encode()), signature))


def unsigned(claims: dict[str, Any]) -> str:
    header = encoded(b'{"alg":"none","kid":"cloud"}')
    return f"{header}.{encoded(json.dumps(claims).encode())}."


def by_public_key(claims: dict[str, Any], public: bytes) -> str:
    """HS256 with the public key as its secret, which careless verifiers take."""
    header = encoded(json.dumps({"alg": "HS256", "kid": "cloud"}).encode())
    text = f"{header}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(hmac.new(public, text.encode(), hashlib.sha256).digest())}"


def bad_input(it: Compound) -> dict[str, tuple[bytes, str]]:
    """Payloads that must not move anything, each with its code."""
    good, public = it.signer, (it.folder / "cloud.pub.pem").read_bytes()
    stranger = Signer(Ed25519PrivateKey.generate(), "cloud", SOURCE)
    elsewhere = Signer(good.key, "cloud", "/sites/other/gateways/xmxc-01")
    nobody = Signer(good.key, "nobody", SOURCE)
    now = int(time.time())

    def token(cmd: str = "gate.open", args: Any = None, **more: Any) -> bytes:
        more.setdefault("iat", now + 1)  # the store is younger than this second
        return good.sign(good.claims(cmd, NORTH if args is None else args, **more)).encode()

    def sign(signer: Signer) -> bytes:
        return signer.sign(signer.claims("gate.open", NORTH)).encode()

    claims = good.claims("gate.open", NORTH)
    return {
        "forged": (sign(stranger), "bad-signature"),
        "altered": (changed(token().decode()).encode(), "bad-signature"),
        "unknown key": (sign(nobody), "bad-signature"),
        "alg none": (unsigned(claims).encode(), "bad-signature"),
        "HS256 with the public key": (by_public_key(claims, public).encode(), "bad-signature"),
        "not UTF-8": (b"\xff\xfe\x00" * 40, "bad-signature"),
        "no token": (b'{"cmd": "gate.open", "args": {"gate": "north"}}', "bad-signature"),
        "huge": (b"x" * (250 << 10), "bad-signature"),  # beyond 256 KiB a packet the broker keeps it back
        "wrong audience": (sign(elsewhere), "wrong-audience"),
        "expired": (token(iat=now - 400, exp=now - 340), "expired"),
        "not yet valid": (token(iat=now + 300, exp=now + 360), "expired"),
        "too long a life": (token(exp=now + 3600), "bad-args"),
        "unknown command": (token("gate.close"), "unknown"),
        "wrong arguments": (token(args={"gate": "north", "force": True}), "bad-args"),
        "not in the list of the key": (token("config.apply", {"file": "version: 1"}), "not-allowed"),
        "no such gate": (token(args={"gate": "west", "reason": ""}), "bad-args"),
    }


def refusals(it: Compound, code: str) -> list[dict[str, Any]]:
    told = [event["data"] for event in it.cloud.of("command.refused")]
    return [one for one in told if one["error"]["code"] == code]


async def test_a_signed_command_opens_a_gate_once(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        async with running(it.site) as gateway:
            replies: list[str] = []
            it.cloud.on_reply = lambda topic, _event: replies.append(topic)
            reply = await it.command("gate.open", gate="north", reason="visitor")
            assert reply["ok"], reply
            assert reply["result"]["decision"] == "opened"
            await it.until(lambda: [one.value for one in it.written("relay", "do1")] == [True, False])
            up, down = it.written("relay", "do1")
            assert 0.25 < down.mono - up.mono < 0.6, "a pulse of 300 ms, and its release"
            root = "site-gateway/v1/xima-xincun/xmxc-01/reply"
            await it.cloud.until(lambda _seen: sorted(replies) == [root, f"{root}/cloud"])
            await it.cloud.until(lambda seen: bool(seen.of("gate.opened") and seen.of("command.done")))
            opened, done = it.cloud.of("gate.opened")[0]["data"], it.cloud.of("command.done")[0]["data"]
            assert (opened["gate"], opened["cause"], opened["by"]) == ("north", "command", "operator")
            assert (done["iss"], done["sub"], done["kid"], done["jti"]) == ("cloud", "operator", "cloud", reply["jti"])

            read = await it.command("read", device="relay", point="di1")
            assert read["result"]["readings"]["di1"]["quality"] == "GOOD"
            again = {"jti": reply["jti"], "nonce": it.cloud.latest["status"]["data"]["nonce"]}
            token = it.signer.sign(it.signer.claims("gate.open", NORTH, **again)).encode()
            await repeated(it, reply["jti"], token, len(it.written("relay")))
            await gateway.kill()
        async with running(it.site):
            await it.cloud.until(lambda seen: len(seen.of("gateway.started")) == 2)
            nonce = await until_new_nonce(it, again["nonce"])
            token = it.signer.sign(it.signer.claims("gate.open", NORTH, jti=reply["jti"], nonce=nonce)).encode()
            await repeated(it, reply["jti"], token, len(it.written("relay")))
            assert len(it.written("relay", "do1")) == 2, "it runs once, also over a kill"


async def until_new_nonce(it: Compound, old: str) -> str:
    def told() -> str:
        return str(it.cloud.latest["status"]["data"]["nonce"])

    await it.cloud.until(lambda _seen: told() not in (old, "None"))
    return told()


async def repeated(it: Compound, jti: str, token: bytes, writes: int) -> None:
    """Send it again: the first reply, an audit event, and nothing on the wire."""
    before = len(refusals(it, "repeated"))
    it.cloud.replies.pop(jti, None)
    await it.cloud.send(SOURCE, token)
    await it.cloud.until(lambda seen: len(refusals(it, "repeated")) > before and jti in seen.replies)
    assert it.cloud.replies[jti]["data"]["ok"], "the first reply again"
    assert len(it.written("relay")) == writes


async def refused(it: Compound, code: str, before: int, name: str) -> None:
    """Wait for one more refusal with this code."""
    try:
        await it.cloud.until(lambda _seen: len(refusals(it, code)) > before, 5.0)
    except TimeoutError:
        found = [event["data"]["error"] for event in it.cloud.of("command.refused")][-1:]
        raise AssertionError(f"{name}: {code} wanted; the last one told: {found}") from None


async def test_nothing_else_moves_anything(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site, SYNCED):
        await it.cloud.until(lambda seen: "status" in seen.latest and bool(seen.of("telemetry.readings")))
        for name, (payload, code) in bad_input(it).items():
            before = len(refusals(it, code))
            await it.cloud.send(SOURCE, payload)
            await refused(it, code, before, name)
        retained = it.signer.sign(it.signer.claims("gate.open", NORTH)).encode()
        await it.cloud.send(SOURCE, retained, retain=True)
        await refused(it, "retained", 0, "retained")
        assert it.written("relay") == []
        assert it.written("far") == []
        codes = {event["data"]["error"]["code"] for event in it.cloud.of("command.refused")}
        assert codes == {code for _, code in bad_input(it).values()} | {"retained"}
        believed = [event["data"] for event in it.cloud.of("command.refused")]
        assert all(one["error"]["message"] for one in believed)
        unbelieved = {"bad-signature"}
        assert not [one for one in it.cloud.replies.values() if one["data"].get("error", {}).get("code") in unbelieved]


async def test_a_clock_that_nobody_sets_needs_the_nonce(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site, UNSYNCED):
        await it.cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
        await it.online()
        for number, nonce in enumerate((None, "0" * 32)):
            claims = it.signer.claims("gate.open", NORTH, nonce=nonce)
            await it.cloud.send(SOURCE, it.signer.sign(claims).encode())
            await refused(it, "expired", number, str(nonce))
        assert (await it.cloud.command("read", {"device": "relay"}, signer=it.signer, nonce=None))["ok"]
        # The sender's clock and ours need not agree on the year.
        opened = await it.cloud.command("gate.open", NORTH, signer=it.signer, iat=1e9, exp=1e9 + 60)
        assert opened["ok"], opened
        assert [one.value for one in it.written("relay", "do1")][:1] == [True]


async def test_a_silent_device_and_an_order_that_dies(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site):
        await it.cloud.until(lambda seen: len({one["subject"] for one in seen.of("telemetry.readings")}) == 2)
        it.virtual.silence("far")
        await it.online()
        began = time.monotonic()
        reply = await it.cloud.command("gate.open", {"gate": "far", "reason": "x"}, signer=it.signer, life=4.0)
        assert (reply["ok"], reply["error"]["code"]) == (False, "silent")
        assert time.monotonic() - began < 1.5, "told within a second"
        await it.cloud.until(lambda _seen: len(refusals(it, "silent")) == 1)
        it.virtual.restore("far")
        await it.until_well("far")
        # What was never written is not written later: only a release, which does no harm, may follow.
        assert [one for one in it.written("far", "do1") if one.value] == []


async def test_old_commands_stay_dead(tmp_path: Path) -> None:
    """Retained, queued by the broker over an outage, repeated: each is refused and audited, and nothing moves."""
    kept = {"persistence": "true", "persistence_location": f"{tmp_path}/"}
    async with compound(tmp_path, SITE, **kept) as it:
        async with running(it.site, SYNCED) as gateway:
            await it.cloud.until(lambda seen: bool(seen.of("telemetry.readings")))
            await gateway.stop()
        now = int(time.time())
        stale = it.signer.claims("gate.open", NORTH, iat=now - 200, exp=now - 100)
        await it.cloud.send(SOURCE, it.signer.sign(stale).encode())
        await it.cloud.send(SOURCE, it.signer.sign(it.signer.claims("gate.open", NORTH)).encode(), retain=True)
        for life in range(2):
            async with running(it.site, SYNCED) as gateway:
                await refused(it, "retained", life, "retained")
                await gateway.stop()
        assert len(refusals(it, "expired")) == 1, "the broker had kept it for the session"
        assert it.written("relay", "do1") == []


async def test_refusals_are_summed_up(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it:
        async with running(it.site) as gateway:
            await it.cloud.until(lambda seen: "status" in seen.latest)
            for _ in range(90):
                await it.cloud.send(SOURCE, b"nonsense")
            await it.cloud.until(lambda _seen: len(refusals(it, "bad-signature")) >= 60)
            reply = await it.command("read", device="relay")
            assert reply["ok"], "a flood of nonsense keeps nobody out"
            assert len(refusals(it, "bad-signature")) == 60
            await gateway.stop()
        await it.cloud.until(lambda _seen: len(refusals(it, "bad-signature")) == 61)
        assert refusals(it, "bad-signature")[-1]["count"] == 30


async def test_events_are_replayed(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE) as it, running(it.site):
        for _ in range(3):
            assert (await it.command("read", device="relay", point="do1"))["ok"]
        await it.cloud.until(lambda seen: len(seen.of("command.done")) == 3)
        first, last = (it.cloud.of("command.done")[at] for at in (0, -1))
        reply = await it.command("events.replay", stream="audit", first=first["sequence"], last=last["sequence"])
        assert reply["ok"], reply
        await it.cloud.until(lambda seen: len(seen.replayed) == 3)
        told = [orjson.dumps(event) for event in it.cloud.of("command.done")[:3]]
        assert [orjson.dumps(event) for event in it.cloud.replayed] == told, "the same ids and content"


async def test_a_pulse_ends_though_the_process_did(tmp_path: Path) -> None:
    async with compound(tmp_path, SITE.replace("pulse: 300ms", "pulse: 3s")) as it:
        async with running(it.site) as gateway:
            assert (await it.command("gate.open", gate="north", reason="kill"))["ok"]
            assert it.on("relay.do1")
            await gateway.kill()
        async with running(it.site):
            await it.until(lambda: not it.on("relay.do1"))
            assert [one.value for one in it.written("relay")] == [True, False]
