"""The HTTP server that separator pods report to and get presigned links from."""
