"""All tricks together: a two-level factorial experiment."""
