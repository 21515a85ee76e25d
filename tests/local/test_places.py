import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.local.places import OF_ONE, PLACES, Budget, ConnectionPlace, Places, caller

GUARD = "10.0.0.1"


class Held(ConnectionPlace):
    """Says of its end."""

    def __init__(self, address: str, since: float, gone: list[str]) -> None:
        super().__init__(address, since)
        self.gone = gone

    def close(self) -> None:
        self.gone.append(f"{self.address}@{self.since:.0f}")


class Crowd:
    """Those that come, and who of them had to go."""

    def __init__(self) -> None:
        self.places = Places(self)
        self.gone: list[str] = []
        self.now = 0.0

    def is_known(self, address: str) -> bool:
        return address == GUARD

    def comes(self, address: str, *, asks: bool = False, served: bool = False) -> bool:
        self.now += 1.0
        place = Held(address, self.now, self.gone)
        place.has_asked, place.is_served = asks, served
        return self.places.take(place)


def test_of_one_address_who_has_not_asked_goes_first_and_then_who_waits_longest() -> None:
    crowd = Crowd()
    for number in range(OF_ONE):
        assert crowd.comes("10.0.0.9", asks=number < 2)

    assert crowd.comes("10.0.0.9")
    assert crowd.gone == ["10.0.0.9@3"]


def test_where_all_are_served_nobody_goes() -> None:
    crowd = Crowd()
    for _ in range(OF_ONE):
        assert crowd.comes("10.0.0.9", served=True)

    assert not crowd.comes("10.0.0.9")
    assert crowd.comes("10.0.0.8")
    assert crowd.gone == []


def test_who_is_known_goes_after_everybody_else() -> None:
    crowd = Crowd()
    for _ in range(8):
        assert crowd.comes(GUARD)
    for number in range(200):
        assert crowd.comes(f"10.1.0.{number}", asks=True)

    assert not [one for one in crowd.gone if one.startswith(f"{GUARD}@")]
    assert len(crowd.places) == PLACES


def test_who_has_most_goes_first() -> None:
    crowd = Crowd()
    assert crowd.comes("10.0.0.2")
    for number in range(200):
        assert crowd.comes(f"10.1.0.{number % 20}", asks=True)

    assert "10.0.0.2@1" not in crowd.gone


def test_streams_take_no_place() -> None:
    crowd = Crowd()
    streams = [Held("10.0.0.9", 0.0, crowd.gone) for _ in range(OF_ONE)]
    for one in streams:
        one.streams = True
    assert all(crowd.places.take(one) for one in streams)
    assert all(crowd.comes("10.0.0.9") for _ in range(OF_ONE))
    assert crowd.gone == []


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans(), st.booleans()), max_size=300))
def test_no_crowd_holds_more_than_there_is(comers: list[tuple[int, bool, bool, bool]]) -> None:
    crowd = Crowd()
    for number, asks, served, _ in comers:
        crowd.comes(f"10.1.0.{number}", asks=asks, served=served)
        assert len(crowd.places) <= PLACES
    crowd.places.close()
    assert len(crowd.places) == 0


def test_a_budget_is_of_each_and_grows_again() -> None:
    budget = Budget(10, 2.0)
    assert [budget.take("a", 0.0, 5) for _ in range(3)] == [0.0, 0.0, 2.5]
    assert budget.take("b", 0.0, 5) == 0.0
    assert budget.take("a", 2.0, 5) == 0.5
    assert budget.take("a", 2.5, 5) == 0.0
    assert budget.take("a", 1000.0, 10) == 0.0
    assert budget.take("a", 1000.0, 1) == 0.5


def test_a_budget_remembers_so_many() -> None:
    budget = Budget(1, 0.001)
    for number in range(5000):
        assert budget.take(str(number), 0.0) == 0.0
    assert budget.take("4999", 0.0) > 0.0


@pytest.mark.parametrize(
    ("address", "whom"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
    ],
)
def test_whom_an_address_stands_for(address: str, whom: str) -> None:
    assert caller(address) == whom
