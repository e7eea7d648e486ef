"""Logs, metrics and probes of the services behind the API."""
