"""Mutation of the pure cores: small changes of their code, each of which a test must notice."""
