"""The words of a judgement: absent is not unavailable, and a request that sent nothing knows nothing."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from spoa.facts import ABSENT, UNAVAILABLE, Missing, Request
from tests.policies import certificate


def test_there_are_two_ways_to_have_no_value() -> None:
    assert list(Missing) == [ABSENT, UNAVAILABLE]
    assert (repr(ABSENT), repr(UNAVAILABLE)) == ("ABSENT", "UNAVAILABLE")
    assert pickle.loads(pickle.dumps(UNAVAILABLE)) is UNAVAILABLE


def test_a_request_that_sent_nothing_knows_nothing() -> None:
    request = Request()
    unavailable = {name for name in Request.__slots__ if getattr(request, name) is UNAVAILABLE}
    assert unavailable == {"cert", "used", "verify", "source", "method", "path", "host", "sni", "tls"}
    assert (request.resumed, request.headers, request.id, request.malformed) == (False, {}, "", "")


def test_requests_share_no_headers() -> None:
    Request().headers["a"] = "b"
    assert Request().headers == {}


def test_a_certificate_never_changes_and_is_compared_by_identity() -> None:
    own = certificate("alice")
    with pytest.raises(dataclasses.FrozenInstanceError):
        own.serial = 2  # type: ignore[misc] # that is the point
    assert own != certificate("alice")
    assert len({own, own}) == 1
