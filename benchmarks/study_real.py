"""A reader study on real scans and their double, served, and answered over HTTP by scripts.

    python benchmarks/study_real.py REAL DOUBLE WORK --out results/study/simulated-readers

`datadouble study serve` runs as a process of its own; each reader has only the link that it printed, loads the page and
the images and posts what the page would. Half-way the server is killed and started again. The readers are scripts whose
ability is set here: nothing in the result says how real the double looks to anybody.
"""

import dataclasses
import html
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from datadouble.cohort import Cohort
from datadouble.study.analysis import analyse_study
from datadouble.study.create import create_study
from datadouble.study.protocol import read_protocol, with_counts
from datadouble.study.records import Shown
from datadouble.study.simulate import SimulatedReader, answer, mark_simulated, panel
from datadouble.study.store import Store
from datadouble.study.study import Study
from script import parser_of
from study_server import Server

DPRIME = (0.0, 0.5)  # of juniors and seniors
SPEED = 10  # times as quick as people: 0.7 s an image
SHARED = ("tables.md", "study-evidence.json", "readers.csv")
LONGEST = 600  # seconds for all readers


class HttpReader:
    """One reader at the far end of a link."""

    def __init__(self, server: Server, study: Study, who: SimulatedReader, seed: int) -> None:
        self.study, self.who, self.seed = study, who, seed
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}",
            timeout=30,
            headers={"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"},
        )
        self.path = server.paths[who.name]
        self.judged, self.sent_again, self.doubles = 0, 0, 0
        self.loaded: set[str] = set()
        self.times: list[float] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        """Read until the page says that all is done."""
        try:
            self.read()
        except Exception as error:  # told by the main thread
            self.failure = error
        finally:
            self.client.close()

    def read(self) -> None:
        page = self.ask("GET", self.path).text
        found = re.search(r'data-facts="([^"]*)"', page)
        assert found is not None
        facts = json.loads(html.unescape(found[1]))
        totals = {part["part"]: part["total"] for part in facts["progress"]["parts"]}
        self.post("monitor", {"screen": [1366, 768], "window": [1366, 650], "pixel_ratio": 1, "colour_depth": 24,
                              "touch": False, "light": "dim", "greys_seen": True, "browser": "a script"})  # fmt: skip
        truth = self.study.truth()
        view = self.post("next", {"resume": True})
        while True:
            if view["shown"] is None:
                if view["progress"]["state"] == "finished":
                    return
                view = self.post("next", {"resume": True})  # practice is over, and Enter was pressed
                continue
            shown = Shown(**view["shown"])
            for name in [shown.image, *view["upcoming"]]:
                if name not in self.loaded:
                    self.loaded.add(name)
                    self.ask("GET", f"{self.path}/image/{name}.png")
            seconds, given = answer(
                self.study, truth[shown.image], shown, self.who, totals[shown.part], self.seed
            )
            seconds /= SPEED
            time.sleep(seconds)
            body = {"shown_id": shown.shown_id, "seconds": seconds,
                    "answers": {key: one._asdict() for key, one in given.items()}}  # fmt: skip
            began = time.perf_counter()
            view = self.post("answer", body)
            self.times.append(1000 * (time.perf_counter() - began))
            self.judged += 1
            self.doubles += view["receipt"]["duplicate"]
            if view["receipt"]["feedback"]:
                view = self.post("next", {"resume": True})

    def post(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("POST", f"{self.path}/{action}", body).json()
        return found

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Ask, and ask again while there is no server, as the page does."""
        for wait in (0.5, 1, 2, 4, 8, 10, 10, 10):
            try:
                reply = self.client.request(method, path, json=body)
                if reply.status_code < 500:
                    reply.raise_for_status()
                    return reply
            except httpx.TransportError:
                pass
            self.sent_again += 1
            time.sleep(wait)
        raise RuntimeError("no server")


def read_all(study_path: Path, readers: list[SimulatedReader], seed: int) -> dict[str, Any]:
    """Serve the study, let the readers answer it side by side, kill the server half-way; return what was measured."""
    with Store.open(study_path) as store:
        study = store.study
        ids = [store.add_reader(one.name, group=one.group, years=one.years).id for one in readers]
    mark_simulated(study_path, ids)
    began = time.monotonic()
    with Server(study_path) as server:
        people = [HttpReader(server, study, one, seed) for one in readers]
        threads = [threading.Thread(target=one.run, daemon=True) for one in people]
        for thread in threads:
            thread.start()
        killed = None
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            if time.monotonic() - began > LONGEST:
                raise RuntimeError("the readers did not finish")
            done = sum(one.judged for one in people)
            if killed is None and done > len(readers) * len(study.truth()) / 2:
                server.kill_and_start_again()
                killed = done
    for one in people:
        if one.failure:
            raise one.failure
    with Store.open(study_path) as store:
        table = store.answers_table(practice=True, undone=True)
    assert not table.duplicated(["reader", "part", "position"]).any()
    times = np.concatenate([one.times for one in people])
    return {
        "readers": len(readers),
        "images_judged": sum(one.judged for one in people),
        "answers_stored": len(table),
        "server_killed_after": killed,
        "requests_sent_again": sum(one.sent_again for one in people),
        "answers_that_had_been_stored_already": sum(one.doubles for one in people),
        "seconds": round(time.monotonic() - began, 1),
        "answer_ms": {f"p{q}": round(float(np.percentile(times, q)), 1) for q in (50, 90, 99)},
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Make, serve, answer, analyse."""
    parser = parser_of(__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("double", type=Path)
    parser.add_argument("work", type=Path, help="for the study itself: it holds real scans and stays here")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=140, help="of each origin")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    protocol = with_counts(read_protocol("coldit-1"), real=options.images, synthetic=options.images)
    # No scan that the generator learnt from, at the price of equal class shares.
    protocol = dataclasses.replace(protocol, splits=("test", "holdout"))
    study = options.work / "study"
    create_study(
        protocol, Cohort.open(options.real), Cohort.open(options.double), study, seed=options.seed, say=print
    )
    print(f"the study stands, {time.monotonic() - began:.0f} s")
    readers = panel(dprime=DPRIME)
    measured = read_all(study, readers, options.seed)
    print(json.dumps(measured))
    analysed = time.monotonic()
    analysis = options.work / "analysis"
    evidence = analyse_study(study, analysis, seed=options.seed)
    measured["analysis_seconds"] = round(time.monotonic() - analysed, 1)
    (options.out / "plots").mkdir(parents=True, exist_ok=True)
    for path in [*(analysis / name for name in SHARED), *(analysis / "plots").glob("*.svg")]:
        target = options.out / path.relative_to(analysis)
        target.write_bytes(path.read_bytes())
    known = {f"R{number}": one.dprime for number, one in enumerate(readers, start=1)}
    (options.out / "known-dprime.json").write_text(json.dumps(known, indent=2) + "\n")
    (options.out / "http.json").write_text(json.dumps(measured, indent=2) + "\n")
    print(f"{len(evidence['tasks'])} tasks, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
