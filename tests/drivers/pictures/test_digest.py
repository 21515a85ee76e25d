import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.pictures.digest import Challenge, authorization, challenge

RFC = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_standard(algorithm: str, response: str) -> None:
    """RFC 7616, 3.9.1."""
    asked = challenge([RFC.format(algorithm)])
    assert asked is not None
    said = authorization(asked, "Mufasa", "Circle of Life", "GET", "/dir/index.html", cnonce=CNONCE, count=1)
    assert f'response="{response}"' in said
    assert "qop=auth, nc=00000001" in said


def test_the_old_form_without_a_counter() -> None:
    """RFC 2069 as corrected."""
    asked = challenge(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    assert asked is not None
    said = authorization(asked, "Mufasa", "CircleOfLife", "GET", "/dir/index.html", cnonce="x", count=1)
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in said
    assert "cnonce" not in said
    assert "algorithm" not in said


def test_basic() -> None:
    said = authorization(Challenge("basic", "r"), "Aladdin", "open sesame", "GET", "/", cnonce="", count=1)
    assert said == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    ("headers", "scheme", "algorithm"),
    [
        (['Basic realm="a"', 'Digest realm="a", nonce="1"'], "digest", None),
        (['Basic realm="a", Digest realm="b", nonce="1", algorithm=MD5'], "digest", "MD5"),
        (['Digest nonce="1", algorithm=MD5', 'Digest nonce="2", algorithm=SHA-256'], "digest", "SHA-256"),
        (['Digest nonce="1", algorithm=MD5, Digest nonce="2", algorithm="SHA-256"'], "digest", "SHA-256"),
        (['Digest nonce="1", algorithm=SHA-512-256', 'Basic realm="x"'], "basic", None),
        (['Digest nonce="1", qop="auth-int"', 'Basic realm="x"'], "basic", None),
        (["Basic"], "basic", None),
        (['Digest nonce="1", algorithm=MD5-sess'], "digest", "MD5-sess"),
    ],
)
def test_the_best_offer_is_taken(headers: list[str], scheme: str, algorithm: str | None) -> None:
    found = challenge(headers)
    assert found is not None
    assert (found.scheme, found.algorithm) == (scheme, algorithm)


@pytest.mark.parametrize(
    "header", ["", "Negotiate", "Digest", 'Digest realm="a"', 'Bearer realm="Digest"', "Digestive x=1"]
)
def test_nothing_usable(header: str) -> None:
    assert challenge([header]) is None


def test_quotes_are_kept() -> None:
    asked = challenge([r'Digest realm="a \"b\" c", nonce="1", stale=TRUE, domain="/, /x"'])
    assert asked is not None
    assert (asked.realm, asked.stale) == ('a "b" c', True)
    assert r'realm="a \"b\" c"' in authorization(asked, "u", "p", "GET", "/", cnonce="", count=1)


@given(st.lists(st.text(max_size=300), max_size=4))
def test_nothing_makes_it_raise(headers: list[str]) -> None:
    asked = challenge(["Digest " + one for one in headers] + headers)
    if asked is not None:
        authorization(asked, "u", "p", "GET", "/", cnonce="c", count=1)


def test_a_long_header_takes_no_long_time() -> None:
    assert challenge(['Digest nonce="' + "\\" * 100_000, "Digest " + "a=" * 100_000, "," * 100_000]) is None


def test_many_long_headers_take_no_longer_than_a_few() -> None:
    """126 of 4 KiB, as many as are taken from a camera, cost the loop 100 ms."""
    good = 'Digest realm="r", nonce="n", qop="auth"'
    many = iter(["Digest " + 'a="b",' * 700] * 7 + [good, *["x" * 4096] * 120])
    asked = challenge(many)
    assert asked is not None
    assert asked.nonce == "n"
    assert len(list(many)) == 120, "not looked at"
