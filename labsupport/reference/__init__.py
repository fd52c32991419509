"""The lecture's equations as code: one module a topic, pure functions that mirror the numbered equations."""
