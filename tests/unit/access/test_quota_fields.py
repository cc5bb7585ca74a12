"""Limits in header fields, and the size that is allowed."""

from __future__ import annotations

import pytest

from shared.errors import Quota, SizeNotAllowed
from web.access.limits import quota_at_once, quota_fields, require_size

REQUESTS = Quota("requests", 600, 599, 42, 60)


def test_the_fields_are_lists_of_the_draft():
    assert dict(quota_fields([REQUESTS])) == {
        "RateLimit-Policy": '"requests";q=600;w=60',
        "RateLimit": '"requests";r=599;t=42',
    }
    assert dict(quota_fields([quota_at_once("jobs", 5), REQUESTS])) == {
        "RateLimit-Policy": '"jobs";q=5;qu="jobs", "requests";q=600;w=60',
        "RateLimit": '"jobs";r=0;t=10, "requests";r=599;t=42',
    }
    streams = dict(quota_fields([quota_at_once("streams", 2)]))
    assert streams["RateLimit-Policy"] == '"streams";q=2;qu="concurrent-requests"'
    assert quota_fields([]) == []


def test_a_size_beyond_the_largest_is_refused_with_what_is_allowed():
    require_size(512, 512)
    require_size(4096, 0)
    with pytest.raises(SizeNotAllowed, match="size is 513 px; at most 512 px") as refused:
        require_size(513, 512)
    assert [fault.pointer for fault in refused.value.faults] == ["/options/size"]
