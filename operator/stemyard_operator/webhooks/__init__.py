"""Delivers webhooks: requests, attempts, the dispatcher and its circuit breakers."""
