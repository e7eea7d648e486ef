"""The kubectl plugin as Krew installs it: manifest, program and the packing of both for a release."""
