"""The operator against simulated nodes, beside an idiomatic kopf operator that does the same work."""
