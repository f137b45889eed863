"""The version, and the day before which a clock cannot be right."""

__version__ = "0.1.0"

#: Seconds since the epoch of this release's day. A clock that stands before it is unusable, and certificate dates deny.
BUILD_TIME = 1_793_491_200  # 2026-11-01T00:00:00Z
