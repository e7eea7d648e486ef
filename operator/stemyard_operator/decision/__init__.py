"""The pure core: from what was observed to what is to be done."""
