"""Feedback alignment and direct feedback alignment: the error sent back through fixed matrices."""
