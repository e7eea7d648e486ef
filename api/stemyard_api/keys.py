"""The previous spelling of `stemyard-api keys`, kept for one release."""

from stemyard_api.auth.key_file import main

if __name__ == "__main__":
    raise SystemExit(main())
