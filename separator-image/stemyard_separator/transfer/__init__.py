"""Everything that goes over the network but YouTube: the desk, the object store, downloads."""
