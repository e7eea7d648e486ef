"""What every test process does first."""

import signal


def pytest_configure() -> None:
    """Let tests interrupt the programs that they start.

    A shell lets its background jobs ignore SIGINT, and so would all their children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
