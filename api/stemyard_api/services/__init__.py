"""The endpoints' logic, without HTTP."""
