"""A token to a command, or to why not."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.cloud.commands.claims import DEFAULT_ALLOW, KeyFile
from gateway.cloud.commands.verify import Verifier, read_key, read_keys
from gateway.cloud.mqtt.types import MAX_COMMAND_BYTES
from gateway.errors import ConfigError
from gateway.model import Refused
from tests.cloud.journaling import WALL, Hands
from tests.cloud.signing import (
    CLOUD,
    DISTRICT,
    KEYS,
    NONCES,
    SOURCE,
    STRANGER,
    Known,
    Nonces,
    by_the_book,
    claims,
    encoded,
    key_file,
    pem,
    refused,
    sign,
    taken,
    verifier,
)

HS256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)


def test_a_good_command() -> None:
    said = claims()
    command = taken(verifier().verify(by_the_book(said), reply_to="t/reply/me"))
    assert (command.jti, command.iss, command.sub, command.kid) == (said["jti"], "cloud.example", "operator 7", "cloud")
    assert (command.cmd, command.args) == ("gate.open", said["args"])
    assert command.allow == DEFAULT_ALLOW
    assert command.exp == said["exp"]
    assert command.reply_to == "t/reply/me"
    assert command.at.wall == WALL


def test_our_own_tokens_are_those_of_the_library() -> None:
    said = claims()
    ours = sign(said)
    assert jwt.decode(ours, CLOUD.public_key(), ["EdDSA"], audience=said["aud"], options={"verify_exp": False}) == said


def hs256(secret: bytes) -> bytes:
    first = encoded(b'{"alg":"HS256","typ":"JWT","kid":"cloud"}') + b"." + encoded(json.dumps(claims()).encode())
    return first + b"." + encoded(HS256.sign(first, secret))


def unsecured(signature: bytes) -> bytes:
    first = encoded(b'{"alg":"none","kid":"cloud"}') + b"." + encoded(json.dumps(claims()).encode())
    return first + b"." + signature


def altered() -> bytes:
    header, _, signature = sign(claims()).split(b".")
    return b".".join((header, encoded(json.dumps(claims(sub="boss")).encode()), signature))


FORGERIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no token": lambda: b'{"cmd": "gate.open"}',
    "a stranger's key": lambda: sign(claims(), STRANGER),
    "another listed key": lambda: sign(claims(), DISTRICT),
    "no kid": lambda: sign(claims(), kid=None),
    "an unknown kid": lambda: sign(claims(), kid="nobody"),
    "a kid that is no text": lambda: sign(claims(), kid=7),  # type: ignore[arg-type]
    "alg none": lambda: unsecured(b""),
    "alg none and a signature": lambda: unsecured(sign(claims()).rpartition(b".")[2]),
    "HS256 with the PEM as secret": lambda: hs256(pem(CLOUD)),
    "HS256 with the raw key as secret": lambda: hs256(CLOUD.public_key().public_bytes_raw()),
    "HS256 in the header only": lambda: sign(claims(), alg="HS256"),
    "Ed25519 by its other name": lambda: sign(claims(), alg="Ed25519"),
    "a header that is a list": lambda: sign_under(b"[]"),
    "a header that is no JSON": lambda: sign_under(b"{alg: EdDSA}"),
    "a header that is deep": lambda: sign_under(b"[" * 700),
    "crit": lambda: sign(claims(), crit=["exp"], exp=1),
    "b64": lambda: sign(claims(), b64=False, crit=["b64"]),
    "its own key in the header": lambda: sign(claims(), STRANGER, jwk={"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
    "nested": lambda: sign(sign(claims()), cty="JWT"),
    "packed": lambda: sign(claims(), zip="DEF"),
    "altered claims": altered,
    "two parts": lambda: sign(claims()).rpartition(b".")[0],
    "four parts": lambda: sign(claims()) + b".AAAA",
    "a line end": lambda: sign(claims()) + b"\n",
    "padding": lambda: sign(claims()) + b"==",
    "a blank within": lambda: sign(claims()).replace(b".", b". ", 1),
    "no claims": lambda: sign(b""),
    "claims that are no JSON": lambda: sign(b"gate.open"),
    "claims that are not UTF-8": lambda: sign(b'{"jti": "\xff"}'),
    "claims with half a character": lambda: sign(b'{"jti": "\\ud800"}'),
    "claims that are a list": lambda: sign(b"[]"),
    "claims that are deep": lambda: sign(b"[" * 100_000),
}


def sign_under(header: bytes) -> bytes:
    first = encoded(header) + b"." + encoded(json.dumps(claims()).encode())
    return first + b"." + encoded(CLOUD.sign(first))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_no_listed_key_has_signed(forgery: str) -> None:
    result = verifier().verify(FORGERIES[forgery](), reply_to="t/reply/me")
    assert refused(result) == "bad-signature"
    assert isinstance(result, Refused)
    assert not result.signed
    assert result.reply_to is None


def test_what_a_forgery_says_of_itself_is_told_but_not_answered() -> None:
    result = verifier().verify(sign(claims(jti="x"), STRANGER))
    assert isinstance(result, Refused)
    assert (result.jti, result.sub, result.cmd, result.kid) == ("x", "operator 7", "gate.open", "cloud")
    assert not result.signed


UNTIMELY: dict[str, dict[str, Any]] = {
    "expired": {"iat": WALL - 100, "exp": WALL - 31},
    "not yet valid": {"iat": WALL + 31, "exp": WALL + 60},
    "not before": {"nbf": WALL + 31},
    "expired before it was issued": {"iat": WALL, "exp": WALL - 1},
}
WRONG_TIMES: dict[str, dict[str, Any]] = {
    "no iat": {"iat": None},
    "no exp": {"exp": None},
    "iat as text": {"iat": str(int(WALL))},
    "exp as true": {"exp": True},
    "exp beyond all": {"exp": 1e18},
    "a long life": {"exp": WALL + 121},
}


@pytest.mark.parametrize("case", UNTIMELY)
def test_too_late_or_too_early(case: str) -> None:
    result = verifier().verify(sign(claims(**UNTIMELY[case])), reply_to="t/reply/me")
    assert refused(result) == "expired"
    assert isinstance(result, Refused)
    assert (result.signed, result.reply_to) == (True, "t/reply/me")


@pytest.mark.parametrize("case", WRONG_TIMES)
def test_times_that_are_none(case: str) -> None:
    assert refused(verifier().verify(sign(claims(**WRONG_TIMES[case])))) == "bad-args"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 5000, "-1"])
def test_numbers_that_are_no_time(number: str) -> None:
    text = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {number}')
    assert refused(verifier().verify(sign(text.encode()))) in {"bad-args", "bad-signature"}


def test_the_leeway_is_30_seconds() -> None:
    early = taken(verifier().verify(sign(claims(iat=WALL + 30, exp=WALL + 90))))
    late = taken(verifier().verify(sign(claims(iat=WALL - 90, exp=WALL - 29))))
    assert (early.exp, late.exp) == (WALL + 90, WALL + 1)


@pytest.mark.parametrize(
    ("cmd", "args", "life", "code"),
    [
        ("gate.open", {"gate": "g"}, 120, None),
        ("gate.hold", {"gate": "g"}, 121, "bad-args"),
        ("gate.release", {"gate": "g"}, 121, "bad-args"),
        ("fire.confirm", {"zone": "z"}, 121, "bad-args"),
        ("alarm.acknowledge", {"alarm": "a"}, 3600, None),
        ("alarm.acknowledge", {"alarm": "a"}, 3601, "bad-args"),
    ],
)
def test_how_long_a_command_may_live(cmd: str, args: dict[str, Any], life: int, code: str | None) -> None:
    result = verifier().verify(sign(claims(cmd=cmd, args=args, exp=int(WALL) + life)))
    assert (refused(result) if isinstance(result, Refused) else None) == code


def test_an_audience_may_be_a_list_of_one() -> None:
    assert taken(verifier().verify(sign(claims(aud=[SOURCE])))).cmd == "gate.open"


def test_what_was_refused_keeps_its_arguments_once_it_is_signed() -> None:
    signed = verifier().verify(sign(claims(cmd="write", args={"point": "a.b", "value": True})))
    forged = verifier().verify(sign(claims(), STRANGER))
    assert isinstance(signed, Refused)
    assert isinstance(forged, Refused)
    assert (signed.args, forged.args) == ({"point": "a.b", "value": True}, None)


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "/sites/s/gateways/other",
        ["/sites/s/gateways/other"],
        [SOURCE, "/sites/s/gateways/other"],
        [],
        [[SOURCE]],
        7,
        "/sites/s/gateways/g/",
    ],
)
def test_for_somebody_else(aud: object) -> None:
    assert refused(verifier().verify(sign(claims(aud=aud)))) == "wrong-audience"


def test_retained() -> None:
    token = sign(claims())
    assert refused(verifier().verify(token, retained=True)) == "retained"
    assert refused(verifier().verify(sign(claims(iat=1, exp=2)), retained=True)) == "retained"
    assert refused(verifier().verify(sign(claims(), STRANGER), retained=True)) == "bad-signature"
    taken(verifier().verify(token))


def test_what_a_key_may_ask_for() -> None:
    write = claims(cmd="write", args={"point": "d.p", "value": 1})
    assert refused(verifier().verify(sign(write))) == "not-allowed"
    taken(verifier().verify(sign(write, DISTRICT, "district")))
    confirm = claims(cmd="fire.confirm", args={"zone": "z"})
    assert refused(verifier().verify(sign(confirm, DISTRICT, "district"))) == "not-allowed"


def test_the_default_list() -> None:
    assert {
        "gate.open", "gate.hold", "gate.release", "fire.confirm", "alarm.acknowledge", "alarm.verify",
        "alarm.reset", "alarm.shelve", "read", "picture", "inspection.run", "inspection.cancel",
        "inspection.answer", "finding.acknowledge", "access.update", "access.presence", "panel.duty",
        "events.replay", "config.get",
    } == DEFAULT_ALLOW  # fmt: skip


@pytest.mark.parametrize("cmd", ["gate.close", "fire.release", "fire.reset", "x" * 10_000])
def test_an_unknown_command(cmd: str) -> None:
    result = verifier().verify(sign(claims(cmd=cmd)))
    assert refused(result) == "unknown"
    assert isinstance(result, Refused)
    assert len(result.message) < 200
    assert result.cmd is not None
    assert result.cmd.startswith(cmd[:60])
    assert len(result.cmd) <= 64


@pytest.mark.parametrize(
    "changes",
    [
        {"cmd": None}, {"cmd": 7}, {"cmd": ""},
        {"jti": None}, {"jti": ""}, {"jti": "x" * 129}, {"jti": 7}, {"iss": None},
        {"sub": None}, {"sub": "x" * 201}, {"args": []}, {"args": {"gate": 7}}, {"args": {}},
        {"args": {"gate": "g", "force": True}},
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong(changes: dict[str, Any]) -> None:
    result = verifier().verify(sign(claims(**changes)))
    assert refused(result) == "bad-args"
    assert isinstance(result, Refused)
    assert result.signed
    assert result.cmd in {"gate.open", "?"}


@pytest.mark.parametrize("twin", ['"cmd": "gate.open", "cmd": "gate.hold"', '"args": {"gate": "a", "gate": "b"}'])
def test_a_name_that_comes_twice(twin: str) -> None:
    rest = json.dumps(claims(cmd=None, args=None))[:-1]
    assert refused(verifier().verify(sign(f"{rest}, {twin}}}".encode()))) == "bad-args"


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"EdDSA","kid":"district","kid":"cloud"}',
        '{"alg":"none","alg":"EdDSA","kid":"cloud"}',
        '{"alg":"EdDSA","kid":"cloud","\\u006bid":"district"}',
        '{"alg":"EdDSA","kid":"cloud","typ":"JWT","typ":"JWT"}',
    ],
)
def test_a_name_that_comes_twice_in_the_header(header: str) -> None:
    first = b".".join((encoded(header.encode()), encoded(json.dumps(claims()).encode())))
    token = first + b"." + encoded(CLOUD.sign(first))
    assert refused(verifier().verify(token)) == "bad-signature"


@pytest.mark.parametrize(
    "inner",
    [
        '{"gate":"north","reason":"x","gate":"south"}',
        '{"gate":"north","more":[{"a":1,"a":2}]}',
        '{"gate":{"b":1,"b":1}}',
    ],
)
def test_a_name_that_comes_twice_below(inner: str) -> None:
    text = json.dumps(claims()).replace(json.dumps(claims()["args"]), inner)
    result = verifier().verify(sign(text.encode()))
    assert refused(result) == "bad-args"
    assert isinstance(result, Refused)
    assert "twice" in result.message


def test_too_large() -> None:
    large = verifier().verify(sign(claims(more="x" * MAX_COMMAND_BYTES)))
    assert refused(large) == "bad-args"
    assert refused(verifier().verify(b"", size=MAX_COMMAND_BYTES + 1)) == "bad-args"
    for result in (large, verifier().verify(b"", size=MAX_COMMAND_BYTES + 1)):
        assert isinstance(result, Refused)
        assert not result.signed
    taken(verifier().verify(sign(claims(more="x" * (MAX_COMMAND_BYTES // 2)))))


# ---- an untrusted clock -----------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", NONCES)
def test_a_nonce_stands_for_the_time(nonce: str) -> None:
    hands = Hands(wall=100.0, synced=False)
    command = taken(verifier(hands).verify(sign(claims(nonce=nonce))))
    assert command.exp == 100.0 + 60.0


@pytest.mark.parametrize("nonce", [None, "", "older", 7])
def test_what_moves_needs_a_nonce(nonce: object) -> None:
    hands = Hands(synced=False)
    for cmd, args in (("gate.open", {"gate": "g"}), ("gate.hold", {"gate": "g"}), ("fire.confirm", {"zone": "z"})):
        assert refused(verifier(hands).verify(sign(claims(cmd=cmd, args=args, nonce=nonce)))) == "expired"
    write = claims(cmd="write", args={"point": "d.p", "value": True}, nonce=nonce)
    assert refused(verifier(hands).verify(sign(write, DISTRICT, "district"))) == "expired"


def test_all_else_works_by_the_clock_as_it_is() -> None:
    acknowledge = claims(cmd="alarm.acknowledge", args={"alarm": "a"})
    taken(verifier(Hands(synced=False)).verify(sign(acknowledge)))
    assert refused(verifier(Hands(wall=100.0, synced=False)).verify(sign(acknowledge))) == "expired"
    taken(verifier(Hands(wall=100.0, synced=False)).verify(sign(acknowledge | {"nonce": NONCES[0]})))


def test_with_a_nonce_the_times_are_judged_against_each_other() -> None:
    unsynced = verifier(Hands(wall=100.0, synced=False))
    assert refused(unsynced.verify(sign(claims(nonce=NONCES[0], exp=int(WALL) + 121)))) == "bad-args"
    assert refused(unsynced.verify(sign(claims(nonce=NONCES[0], exp=int(WALL) - 1)))) == "expired"


def test_a_nonce_is_no_excuse_while_the_clock_is_right() -> None:
    assert refused(verifier().verify(sign(claims(nonce=NONCES[0], iat=WALL - 100, exp=WALL - 40)))) == "expired"


def test_no_nonce_yet() -> None:
    bare = Verifier(KEYS, SOURCE, Hands(synced=False), Nonces(()), Known(WALL - 1000.0))
    assert refused(bare.verify(sign(claims(nonce="")))) == "expired"


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("gate.open", {"gate": "g"}),
        ("alarm.acknowledge", {"alarm": "a"}),
        ("alarm.shelve", {"device": "d", "for": "1h"}),
        ("read", {"device": "d"}),
    ],
)
def test_a_new_store_remembers_nothing_of_before(cmd: str, args: dict[str, Any]) -> None:
    young = verifier(born=WALL - 10.0)
    assert refused(young.verify(sign(claims(cmd=cmd, args=args, iat=WALL - 11)))) == "expired"
    taken(young.verify(sign(claims(cmd=cmd, args=args, iat=WALL - 10))))
    taken(verifier(born=WALL - 9.5).verify(sign(claims(cmd=cmd, args=args, jti="whole seconds", iat=WALL - 10))))


def test_a_store_begun_by_a_clock_that_ran_ahead_takes_what_has_a_nonce() -> None:
    """Whether that clock was wrong, or the present one is: who sends a nonce is asked for no time."""
    ahead = verifier(born=WALL + 3e8)
    assert refused(ahead.verify(sign(claims()))) == "expired"
    assert refused(ahead.verify(sign(claims(nonce="older")))) == "expired"
    taken(ahead.verify(sign(claims(nonce=NONCES[1]))))


# ---- a clock that is set back -----------------------------------------------------------------------


@pytest.mark.parametrize("synced", [True, False])
def test_the_time_that_judges_never_reads_earlier_than_the_newest_known(*, synced: bool) -> None:
    back = Hands(wall=WALL - 3600, synced=synced)
    judge = Verifier(KEYS, SOURCE, back, Nonces(), Known(floor=WALL))
    old = claims(cmd="alarm.acknowledge", args={"alarm": "a"}, iat=WALL - 3600, exp=WALL - 3000)
    assert refused(judge.verify(sign(old))) == "expired"
    now = taken(judge.verify(sign(claims(cmd="alarm.acknowledge", args={"alarm": "a"}))))
    assert now.exp == back.wall + 60.0, "what is left of its life is told by our clock"


def test_with_a_nonce_a_time_that_was_wrong_before_locks_nobody_out() -> None:
    ran_ahead = Verifier(KEYS, SOURCE, Hands(), Nonces(), Known(floor=WALL + 3e8))
    assert refused(ran_ahead.verify(sign(claims()))) == "expired"
    taken(ran_ahead.verify(sign(claims(nonce=NONCES[0]))))


# ---- keys -------------------------------------------------------------------------------------------


def test_a_key_from_its_file(tmp_path: Path) -> None:
    key = read_key(key_file(tmp_path))
    assert (key.id, key.allow) == ("cloud", DEFAULT_ALLOW)
    assert key.public.public_bytes_raw() == CLOUD.public_key().public_bytes_raw()
    only = read_key(key_file(tmp_path)._replace(allow=frozenset({"read"})))
    assert only.allow == {"read"}


def public(key: Any) -> bytes:
    content: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        public(generate_private_key(SECP256R1())),
        public(Ed448PrivateKey.generate()),
        CLOUD.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ],
    ids=["empty", "garbage", "P-256", "Ed448", "private"],
)
def test_a_file_that_is_no_key(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="key cloud"):
        read_key(KeyFile("cloud", path, None))


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(KeyFile("cloud", tmp_path / "none.pem", None))


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    keys, wrong = read_keys([KeyFile("gone", tmp_path / "none.pem", None), key_file(tmp_path)])
    assert [key.id for key in keys] == ["cloud"]
    assert len(wrong) == 1
    assert "key gone" in wrong[0]


# ---- cost -------------------------------------------------------------------------------------------


def test_what_it_costs(record_property: Callable[[str, object], None]) -> None:
    """A forger with the broker's password must not be able to keep the loop busy."""
    one = verifier()
    plates = [{"plate": f"沪A{n:05}", "kind": "resident"} for n in range(2000)]
    tokens = {
        "good": (sign(claims()), 300, 2e-3),
        "forged": (sign(claims(), STRANGER), 300, 2e-3),
        "forged, 256 KiB": (sign(claims(more="x" * (MAX_COMMAND_BYTES * 3 // 4 - 600)), STRANGER), 20, 30e-3),
        "2,000 plates": (sign(claims(cmd="access.update", args={"list": "l", "version": 2, "put": plates})), 20, 60e-3),
    }
    for name, (token, times, most) in tokens.items():
        assert len(token) <= MAX_COMMAND_BYTES
        begun = time.process_time()
        for _ in range(times):
            verdict = one.verify(token)
        assert isinstance(verdict, Refused) is name.startswith("forged")
        seconds = (time.process_time() - begun) / times
        record_property(name, f"{seconds * 1e6:.0f} us")
        assert seconds < most, name
