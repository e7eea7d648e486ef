"""The operator on simulated nodes, compared with an idiomatic kopf operator that does the same work."""
