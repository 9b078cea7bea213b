"""One process of several writes and shows."""

from __future__ import annotations

from ignite.engine import Engine


def is_follower(engine: Engine) -> bool:
    """Tell whether this process is one of several and not the first, which alone writes and shows."""
    return getattr(engine.state, "rank", 0) > 0
