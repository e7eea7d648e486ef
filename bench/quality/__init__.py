"""How well the golden mixes are separated, with what was changed for them and without it."""
