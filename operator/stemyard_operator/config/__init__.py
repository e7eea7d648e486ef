"""What a deployment configures: environment variables, scheduling profiles, webhook endpoints."""
