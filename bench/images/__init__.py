"""How much has to be pulled of each image."""
