"""Who is to blame when the broker hangs up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud.mqtt.disconnect_cause import Blame, Suspect


def bring(blame: Blame, topics: list[set[Suspect]], lived: float = 0.1) -> list[Suspect | None]:
    return [blame.ended(one, lived, hung_up=True) for one in topics]


def test_three_breaks_make_careful_and_three_more_name_it() -> None:
    blame = Blame()
    assert bring(blame, [{Suspect("a"), Suspect("b")}] * 3) == [None] * 3
    assert blame.careful
    assert bring(blame, [{Suspect("a")}, {Suspect("a")}]) == [None, None]
    assert bring(blame, [{Suspect("a")}]) == [Suspect("a")]
    assert not blame.careful


def test_a_message_that_gets_through_now_and_then_is_not_to_blame() -> None:
    blame = Blame()
    bring(blame, [{Suspect("a"), Suspect("b")}] * 3)
    for _ in range(20):
        assert bring(blame, [{Suspect("a")}, {Suspect("b")}, {Suspect("a")}, {Suspect("b")}]) == [None] * 4
        blame.answered(Suspect("a"), refused=False)
        blame.answered(Suspect("b"), refused=False)


def test_a_connection_that_lasts_ends_the_care() -> None:
    blame = Blame()
    bring(blame, [{Suspect("a")}] * 3)
    assert not blame.calm(100.0)
    assert not blame.calm(109.0)
    assert blame.calm(110.0)
    bring(blame, [{Suspect("a")}] * 3)
    assert blame.ended({Suspect("a")}, 60.0, hung_up=True) is None
    assert not blame.careful


def test_our_own_endings_and_those_with_nothing_under_way_blame_nobody() -> None:
    blame = Blame()
    for _ in range(10):
        assert blame.ended({Suspect("a")}, 0.1, hung_up=False) is None
        assert blame.ended(set(), 0.1, hung_up=True) is None
    assert not blame.careful


@given(st.lists(st.sampled_from([Suspect("a"), Suspect("b"), Suspect("c")]), min_size=1, max_size=30), st.data())
def test_a_broker_that_denies_one_topic_is_found_out(order: list[Suspect], data: st.DataObject) -> None:
    """Messages go in any order; those before the denied one are taken, those behind it are lost with the link."""
    blame = Blame()

    def draw() -> list[Suspect]:
        return data.draw(st.permutations([Suspect("a"), Suspect("b"), Suspect("denied")]))

    for _ in range(20 * len(order)):
        under_way = draw()
        if blame.careful:
            for topic in under_way[: under_way.index(Suspect("denied"))]:
                blame.answered(topic, refused=False)
            if told := data.draw(st.booleans()):  # the refusal came before the end
                blame.answered(Suspect("denied"), refused=True)
            guilty = blame.ended({under_way[-1] if told else Suspect("denied")}, 0.1, hung_up=True)
        else:
            guilty = blame.ended(set(under_way), 0.1, hung_up=True)
        if guilty is not None:
            assert guilty == Suspect("denied")
            return
    raise AssertionError("not found out")
