"""What a song costs, and a simulated day of a large installation."""
