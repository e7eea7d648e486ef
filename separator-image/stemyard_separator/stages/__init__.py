"""The two stages that a pod runs: fetch and separate."""
