"""The command line of Stemyard."""
