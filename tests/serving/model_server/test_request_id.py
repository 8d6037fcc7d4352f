"""Request ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.model_server.request_id import RequestIds


@pytest.mark.parametrize("given", ["a", "0f3b-12", "x" * 128, "~!/"])
def test_the_callers_id_is_taken(given: str) -> None:
    assert RequestIds().of(given) == given


@pytest.mark.parametrize("given", [None, "", "a b", "a\nb", "x" * 129, "é", "\x7f"])
def test_what_cannot_be_stored_and_searched_for_is_not(given: str | None) -> None:
    minted = RequestIds().of(given)
    assert minted != given
    assert RequestIds().of(minted) == minted


def test_ids_are_unique_and_in_order() -> None:
    ids = RequestIds()
    minted = [ids.of(None) for _ in range(1000)]
    assert sorted(minted) == minted
    with ThreadPoolExecutor(8) as executor:
        minted += executor.map(lambda _: ids.of(None), range(5000))
    assert len(set(minted)) == len(minted)
    assert not set(minted) & {RequestIds().of(None) for _ in range(10)}
