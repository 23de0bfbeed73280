"""Serves studies from forked children: a killed server is up again at once, not after seconds of imports.

Run as a script by test_browser.py. Each line of its input is ``path TAB port TAB days``: it serves the study there (0:
any port) with a clock that is so many days ahead, and prints the port and the child's process id.
"""

import os
import signal
import sys
from datetime import datetime, timedelta

import uvicorn

from datadouble.study.records import SystemClock
from datadouble.study.web.app import make_app
from datadouble.study.web.serve import listen


class AheadClock(SystemClock):
    """The machine's clock, set forward."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)


def serve(path: str, port: int, days: float) -> None:
    app = make_app(path, clock=AheadClock(days))
    with listen("127.0.0.1", port) as listening:
        print(listening.getsockname()[1], os.getpid(), flush=True)
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listening])


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        path, port, days = line.rstrip("\n").split("\t")
        if os.fork() == 0:
            try:
                os.close(0)
                serve(path, int(port), float(days))
            finally:
                os._exit(0)


if __name__ == "__main__":
    main()
