from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.traffic import Split, position

KEYS = [f"caller-{number}" for number in range(4000)]


def test_the_share_is_the_share() -> None:
    split = Split("taxi", stable=1, canary=2, share=0.1)
    canaries = sum(split.version_for(key, "") == 2 for key in KEYS)
    assert 320 < canaries < 480  # 400 expected, standard deviation 19


def test_without_a_canary_everything_is_stable() -> None:
    assert {Split("taxi", stable=1).version_for(key, "") for key in KEYS[:100]} == {1}
    assert Split("taxi").version_for("a", "b") is None


@given(st.text(min_size=1), st.text(), st.text())
def test_a_caller_stays_with_its_version(key: str, one: str, other: str) -> None:
    split = Split("taxi", stable=1, canary=2, share=0.5)
    assert split.version_for(key, one) == split.version_for(key, other)


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_as_the_share_grows_nobody_moves_back(key: str, one: float, other: float) -> None:
    small, large = (Split("taxi", stable=1, canary=2, share=share) for share in sorted((one, other)))
    assert (small.version_for(key, ""), large.version_for(key, "")) != (2, 1)


def test_without_a_key_requests_are_spread_by_their_ids() -> None:
    split = Split("taxi", stable=1, canary=2, share=0.5)
    assert {split.version_for("", request_id) for request_id in KEYS[:50]} == {1, 2}


def test_other_lines_and_purposes_draw_others() -> None:
    def chosen(line: str, purpose: str) -> set[str]:
        return {key for key in KEYS if position(line, purpose, key) < 0.1}

    assert chosen("taxi", "canary") != chosen("census", "canary")
    assert chosen("taxi", "canary") != chosen("taxi", "shadow")


def test_positions_are_the_same_everywhere() -> None:
    assert round(position("taxi", "canary", "alice"), 12) == 0.126240787888


def test_all_or_a_share_is_shadowed() -> None:
    assert all(Split("taxi", 1, shadow=2, shadow_share=1.0).is_shadowed(key) for key in KEYS)
    assert not any(Split("taxi", 1, shadow_share=1.0).is_shadowed(key) for key in KEYS)
    assert 320 < sum(Split("taxi", 1, shadow=2, shadow_share=0.1).is_shadowed(key) for key in KEYS) < 480
