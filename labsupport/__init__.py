"""The package behind *Training Deep Networks in Practice*."""
