"""Turns a source into audio and audio into stems; runs inside the two Jobs of a separation."""
