"""Separation engines: a common protocol, a registry and one implementation per network runtime."""
