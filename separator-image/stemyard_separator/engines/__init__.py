"""Separation engines: one protocol, one registry, one module per engine."""
