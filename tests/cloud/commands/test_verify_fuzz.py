"""Whatever arrives: never an exception, and never a command that was not signed."""

import json
from typing import Any

import jwt
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.commands import COMMANDS
from gateway.contract.commands import ARGS
from gateway.model import Command, Refused
from tests.cloud.signing import CLOUD, DISTRICT, STRANGER, claims, encoded, refused, sign, verifier

TOKEN = sign(claims())
VERIFIER = verifier()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def agrees_with_the_library(token: bytes) -> None:
    """What we take, PyJWT takes too."""
    if not isinstance(VERIFIER.verify(token), Refused):
        jwt.decode(token, CLOUD.public_key(), ["EdDSA"], options={"verify_exp": False, "verify_aud": False})


@given(st.binary(max_size=300))
def test_any_bytes(payload: bytes) -> None:
    assert refused(VERIFIER.verify(payload)) == "bad-signature"


@given(st.data())
def test_a_mutated_token_never_verifies(data: st.DataObject) -> None:
    payload = bytearray(TOKEN)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.sampled_from(("change", "drop", "double", "cut"))):
            case "change":
                payload[at] = data.draw(st.integers(0, 255))
            case "drop":
                del payload[at]
            case "double":
                payload[at:at] = payload[at : at + 7]
            case _:
                del payload[max(at, 1) :]
        if not payload:
            break
    if bytes(payload) != TOKEN:
        assert refused(VERIFIER.verify(bytes(payload))) == "bad-signature"


def test_no_single_bit_may_change() -> None:
    """Also not the bits that base64 leaves over, nor those of the signature."""
    for at in range(len(TOKEN)):
        for bit in range(8):
            payload = bytearray(TOKEN)
            payload[at] ^= 1 << bit
            assert refused(VERIFIER.verify(bytes(payload))) == "bad-signature", (at, bit)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "cty", "jku", "x"]), JSON, max_size=5))
@example({"alg": "EdDSA", "kid": "cloud", "typ": "JWT"})
def test_any_header(header: dict[str, Any]) -> None:
    """Signed by a stranger, so none may pass; signed by the right one only if it says nothing strange."""
    first = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims()).encode())
    assert refused(VERIFIER.verify(first + b"." + encoded(STRANGER.sign(first)))) == "bad-signature"
    result = VERIFIER.verify(first + b"." + encoded(CLOUD.sign(first)))
    agrees_with_the_library(first + b"." + encoded(CLOUD.sign(first)))
    if isinstance(result, Command):
        assert header["alg"] == "EdDSA"
        assert header["kid"] == "cloud"
        assert {"crit", "b64", "cty"}.isdisjoint(header)


@given(st.dictionaries(st.sampled_from(list(claims())), JSON), st.sampled_from(sorted(ARGS)), JSON)
def test_any_claims_of_a_listed_key(changes: dict[str, Any], cmd: str, args: Any) -> None:
    said = claims(cmd=cmd, args=args) | changes
    result = VERIFIER.verify(sign(json.dumps(said).encode(), DISTRICT, "district"))
    if isinstance(result, Refused):
        assert result.signed or result.code == "bad-signature"  # what JSON cannot say (NaN) is no JWT
    else:
        COMMANDS[result.cmd].check(result.args)


@given(JSON)
def test_any_content_of_a_listed_key(content: Any) -> None:
    refused(VERIFIER.verify(sign(json.dumps(content).encode())))
