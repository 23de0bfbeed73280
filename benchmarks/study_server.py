"""A `datadouble study serve` of its own process, for the measurements of reader studies."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType

COMMAND = [sys.executable, "-u", "-c", "from datadouble.cli import main; main()", "study", "serve"]
LINE = re.compile(r"(?P<name>.+): http://127\.0\.0\.1:(?P<port>\d+)(?P<path>/(r|admin)/\S+)")


class Server:
    """A study, served on loopback while the context lasts.

    Attributes
    ----------
    port : int
    paths : dict
        The path of each reader's link by name, as the command printed them.
    """

    def __init__(self, study: Path) -> None:
        self.study, self.port, self.paths = study, 0, dict[str, str]()

    def __enter__(self) -> Server:
        """Start, and wait for the links."""
        self._process = subprocess.Popen(
            [*COMMAND, str(self.study), "--port", str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = LINE.match(line)
            if found and found["path"].startswith("/r/"):
                self.paths[found["name"]], self.port = found["path"], int(found["port"])
                if len(self.paths) == self._readers():
                    return self
        raise RuntimeError("the server did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it as Ctrl-C would."""
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def kill_and_start_again(self) -> None:
        """Kill it without warning (SIGKILL), and start it at the same port: the links stay the same."""
        before = dict(self.paths)
        self._process.kill()
        self.__exit__(None, None, None)
        self.paths = {}
        self.__enter__()
        assert self.paths == before

    def _readers(self) -> int:
        from datadouble.study.store import Store

        with Store.open(self.study) as store:
            return sum(reader.revoked_at is None for reader in store.readers())
