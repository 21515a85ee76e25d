import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.anpr.camera_lookup import Doors, host_of, literal
from gateway.errors import ConfigError
from tests.drivers.anpr.pushing import camera


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.168.1.64", "192.168.1.64"),
        ("192.168.1.64:8080", "192.168.1.64"),
        ("CAM-1.local", "cam-1.local"),
        ("cam:80", "cam"),
        ("fe80::1", "fe80::1"),
        ("[FE80::1]:80", "fe80::1"),
        ("[::ffff:10.0.0.1]:80", "10.0.0.1"),
    ],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host


@pytest.mark.parametrize("address", ["", "a/b", "user@host", "[]:80"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError):
        host_of(address)


@pytest.mark.parametrize("source", ["10.0.0.1", "::ffff:10.0.0.1", "::FFFF:10.0.0.1%eth0"])
def test_one_address_in_any_writing(source: str) -> None:
    doors = Doors([camera("generic", address="10.0.0.1:80")])
    assert doors.knows(source)
    assert not isinstance(doors.find("/cameras/c1", source), str)


def test_a_name_counts_once_it_is_known_and_moves_with_its_addresses() -> None:
    doors = Doors([camera("generic", address="cam")])
    assert doors.names == {"cam"}
    assert doors.find("/cameras/c1", "10.0.0.1") == "stranger"
    doors.resolved("cam", ["10.0.0.1", "fe80::1%2", "no address"])
    assert not isinstance(doors.find("/cameras/c1", "fe80::1%7"), str)
    doors.resolved("cam", ["10.0.0.2"])
    assert doors.find("/cameras/c1", "10.0.0.1") == "stranger"


@pytest.mark.parametrize(
    ("path", "rest"), [("/cameras/c1", "/"), ("/cameras/c1/", "/"), ("/cameras/c1/VIID/Faces", "/VIID/Faces")]
)
def test_the_maker_sees_its_own_path(path: str, rest: str) -> None:
    mine = camera("gat1400")
    assert Doors([mine]).find(path, mine.address) == (mine, rest)


@given(st.text(max_size=60), st.text(max_size=40))
def test_nothing_makes_it_raise(path: str, source: str) -> None:
    doors = Doors([camera("dahua"), camera("generic", "c2", "name")])
    assert literal(source) is not None or doors.find(path, source) == "stranger"
    doors.find(path, "127.0.0.1")
    doors.find("/cameras/" + path, "127.0.0.1")
