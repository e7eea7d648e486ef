"""Delivers webhooks: requests, secrets, attempts, the dispatcher."""
