"""How long one song takes from its request to its links on a real cluster, step by step."""
