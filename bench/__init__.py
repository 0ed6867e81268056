"""Benchmarks that print ratios: against the usual parts, and against a floor of nothing but the work."""
