"""Tools for agents: a server of the Model Context Protocol over an installation's API."""
