"""Layers that learn from errors of their own: GMDH, greedy, decoupled and local errors."""
