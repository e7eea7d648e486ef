"""Tokens of share links: only what was issued is valid, and only for its track, uid and revocation."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemyard_api.auth.share_tokens import TOKEN_PATTERN, ShareTokens
from stemyard_api.errors import ShareNotFoundError

TRACK = "7a1e0f0e-8d0c-5b9f-9a55-0d7c6f1b2a34"
SECRET = "a secret of share links"
TOKENS = ShareTokens("main", [SECRET])
TOKEN = TOKENS.issue(TRACK, "u1", None, 1_900_000_000)


def test_a_token_says_its_track_and_expiry_to_its_issuer_alone() -> None:
    share = TOKENS.read(TOKEN)
    assert (share.track_id, share.expires_at) == (TRACK, 1_900_000_000)
    for other in (ShareTokens("other", [SECRET]), ShareTokens("main", ["another secret"]), ShareTokens("main", [])):
        with pytest.raises(ShareNotFoundError):
            other.read(TOKEN)


def test_a_token_ends_with_its_resource_and_with_a_revocation() -> None:
    share = TOKENS.read(TOKEN)
    assert share.is_of("u1", None)
    assert not share.is_of("u2", None)
    assert not share.is_of("u1", "1")
    later = TOKENS.read(TOKENS.issue(TRACK, "u1", "1", 1_900_000_000))
    assert later.is_of("u1", "1")
    assert not later.is_of("u1", None)


def test_a_replaced_secret_still_reads_its_tokens_but_signs_none() -> None:
    rotated = ShareTokens("main", ["the new secret", SECRET])
    assert rotated.read(TOKEN).is_of("u1", None)
    with pytest.raises(ShareNotFoundError):
        TOKENS.read(rotated.issue(TRACK, "u1", None, 1_900_000_000))


@pytest.mark.parametrize("track", ["a.b", "n" * 63 + "." + "m" * 64])
def test_tokens_are_bounded_and_fit_the_pattern(track: str) -> None:
    token = TOKENS.issue(track, "u1", None, 1_900_000_000)
    assert re.fullmatch(TOKEN_PATTERN, token)
    assert TOKENS.read(token).track_id == track


def test_no_changed_bit_is_accepted() -> None:
    content = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    for place in range(len(content) * 8):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(ShareNotFoundError):
            TOKENS.read(base64.urlsafe_b64encode(bytes(changed)).decode().rstrip("="))


def test_a_token_has_one_spelling() -> None:
    token = TOKENS.issue("a.bc", "u1", None, 1_900_000_000)
    assert len(token) % 4  # so that the last character has unused bits
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if last != token[-1]:
            with pytest.raises(ShareNotFoundError):
                TOKENS.read(token[:-1] + last)


@given(st.text(max_size=300) | st.from_regex(TOKEN_PATTERN, fullmatch=True))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ShareNotFoundError):
        TOKENS.read(text)
