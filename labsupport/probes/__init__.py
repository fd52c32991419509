"""Probes: measurements of R runs, (net, params, buffers, dataset) -> {metric: (R,)}.

A probe is a function, or a frozen dataclass with ``__call__`` where it has settings. Its module is
part of what a stored result depends on.
"""
