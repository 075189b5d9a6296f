"""Ids of frameworks as session ids, and texts that a message may have."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chat_session import Session
from chat_session.adapters.projection import fit_text
from chat_session.adapters.session_ids import find_original_id, find_original_ids, make_session_id, original_id
from chat_session.clock import now
from chat_session.session import is_session_id

IDS = st.lists(
    st.text(max_size=60) | st.sampled_from(["", "=", "=3A", "~", ":", "a:b", "\ud800"]), min_size=2, max_size=3
)


@given(IDS)
def test_several_ids_make_a_valid_session_id_and_are_found_again(ids: list[str]) -> None:
    session = session_of(*ids)
    assert is_session_id(session.session_id)
    assert find_original_ids(session) == ids


def session_of(*ids: str) -> Session:
    return Session(
        session_id=make_session_id(*ids),
        user_id="u",
        created_at=now(),
        last_active_at=now(),
        metadata=original_id(*ids),
    )


@given(st.text(max_size=150) | st.sampled_from(["", "=", "=3A", "~", "a:b", "=FF", "\ud800"]))
def test_one_id_is_found_again(own_id: str) -> None:
    session = session_of(own_id)
    assert is_session_id(session.session_id)
    assert find_original_id(session) == own_id


def test_a_session_id_that_was_made_elsewhere_is_the_id() -> None:
    for session_id in ("=FF", "a:b", "x~y"):
        session = msgspec.structs.replace(session_of("x"), session_id=session_id)
        assert find_original_id(session) == session_id
    claimed = msgspec.structs.replace(session_of("x"), metadata={"adapter_id": ["other"]})
    assert find_original_id(claimed) == "x"


@given(IDS, IDS)
def test_different_ids_never_become_equal(one: list[str], other: list[str]) -> None:
    assert (make_session_id(*one) == make_session_id(*other)) == (one == other)


@given(st.text(alphabet=st.characters(), max_size=50) | st.just("\ud800é"), st.integers(0, 60))
def test_a_cut_text_fits_and_is_the_beginning_of_the_whole(text: str, max_bytes: int) -> None:
    cut = fit_text(text, max_bytes)
    assert len(cut.encode()) <= max_bytes
    whole = text.encode(errors="replace").decode()
    assert cut == whole or whole.startswith(cut.removesuffix("…"))
