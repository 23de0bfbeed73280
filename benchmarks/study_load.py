"""How long the server of a reader study takes for the next image while 20 readers judge at once.

    python benchmarks/study_load.py --out results/study

A study of noise is made and served on this machine; each reader sends a bounded number of answers over a connection
of their own, with a pause like a quick reader's between them. An answer's time runs from the request to the whole
reply: by then the answer is on the disk, and the reply names the next image.
"""

import http.client
import json
import os
import random
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from datadouble import files
from datadouble.cohort import Cohort, CohortInfo, CohortWriter
from datadouble.study.create import create_study
from datadouble.study.protocol import read_protocol, with_counts
from datadouble.study.store import Store
from script import parser_of
from study_server import Server

TARGET_MS = 50.0


def noise(path: Path, origin: str, images: int, size: int) -> Cohort:
    """Write a cohort of noise."""
    chance = np.random.default_rng(len(origin))
    info = CohortInfo(
        name=origin, origin=origin, modality="ultrasound", classes=("3", "4"), mask_classes=(), intensity={}
    )
    with CohortWriter(path, info) as writer:
        for number in range(images):
            image = chance.integers(0, 255, (size, size)).astype(np.uint8)
            writer.add(image, image_id=f"{origin}{number}", patient_id=f"{number}", label=str(3 + number % 2))
        return writer.finish()


class Reader:
    """One reader: judges `answers` images and notes how long each request took, in milliseconds."""

    def __init__(self, port: int, path: str, number: int) -> None:
        self.port, self.path, self.chance = port, path, random.Random(number)
        self.times: dict[str, list[float]] = {"page": [], "answer": [], "image": []}
        self.failure: Exception | None = None

    def run(self, answers: int, pause: float) -> None:
        """Read like a quick human."""
        try:
            self.read(answers, pause)
        except Exception as error:  # said by the main thread
            self.failure = error

    def read(self, answers: int, pause: float) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        time.sleep(self.chance.uniform(0, pause))
        self.ask("page", "GET", self.path)
        view = json.loads(self.ask(None, "POST", f"{self.path}/next", {"resume": True}))
        loaded: set[str] = set()
        for _ in range(answers):
            shown = view["shown"]
            for name in [shown["image"], *view["upcoming"]]:
                if name not in loaded:
                    loaded.add(name)
                    self.ask("image", "GET", f"{self.path}/image/{name}.png")
            time.sleep(self.chance.uniform(0.5, 1.5) * pause)
            given = {"origin": {"value": self.chance.choice(["real", "synthetic"]), "confidence": 60}}
            body = {"shown_id": shown["shown_id"], "answers": given, "seconds": 0.5}
            view = json.loads(self.ask("answer", "POST", f"{self.path}/answer", body))

    def ask(self, kind: str | None, method: str, path: str, body: dict | None = None) -> bytes:
        headers = {"Origin": f"http://127.0.0.1:{self.port}", "Content-Type": "application/json"}
        began = time.perf_counter()
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = self.connection.getresponse()
        content = reply.read()
        if kind:
            self.times[kind].append(1000 * (time.perf_counter() - began))
        if reply.status != 200:
            raise RuntimeError(f"{method} answered {reply.status}: {content[:100]!r}")
        return content


def measure(readers: int, answers: int, pause: float, size: int, images: int) -> dict:
    """Make a study, serve it, let the readers read, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        protocol = with_counts(read_protocol("coldit-1"), real=images, synthetic=images, practice=0)
        cohorts = (
            noise(root / "real", "real", images, size),
            noise(root / "double", "synthetic", images, size),
        )
        create_study(protocol, *cohorts, root / "study")
        with Store.open(root / "study") as store:
            for number in range(readers):
                store.add_reader(f"R{number}")
        with Server(root / "study") as server:
            people = [Reader(server.port, path, number) for number, path in enumerate(server.paths.values())]
            threads = [threading.Thread(target=one.run, args=(answers, pause)) for one in people]
            load = os.getloadavg()[0]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - began
        for one in people:
            if one.failure:
                raise one.failure
        with Store.open(root / "study") as store:
            stored = len(store.answers_table())
    figures = {}
    for kind in ("answer", "image", "page"):
        times = np.array([t for one in people for t in one.times[kind]])
        figures[kind] = {
            "n": len(times),
            **{f"p{q}_ms": round(float(np.percentile(times, q)), 1) for q in (50, 90, 95, 99)},
            "max_ms": round(float(times.max()), 1),
        }
    return {
        "readers": readers,
        "answers_each": answers,
        "pause_seconds": pause,
        "image_pixels": size,
        "images_in_study": 2 * images,
        "seconds": round(seconds, 1),
        "answers_per_second": round(readers * answers / seconds, 1),
        "answers_stored": stored,
        "cores": os.cpu_count(),
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
        "times": figures,
        "target_ms": TARGET_MS,
        "met": figures["answer"]["p50_ms"] < TARGET_MS,
    }


def table(result: dict) -> str:
    """Return the figures as Markdown."""
    names = {"answer": "answer stored, next image named", "image": "an image (preloaded)", "page": "the page"}
    lines = [
        "# Load of a reader study's server",
        "",
        f"{result['readers']} readers at once, {result['answers_each']} answers each, about "
        f"{result['pause_seconds']:g} s between them ({result['answers_per_second']:g} answers a second); "
        f"{result['images_in_study']} images of {result['image_pixels']} x {result['image_pixels']} pixels; readers "
        f"and server on the same {result['cores']} cores.",
        "",
        "| request | n | median ms | 90% | 95% | 99% | slowest |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, name in names.items():
        row = result["times"][kind]
        lines.append(
            f"| {name} | {row['n']} | **{row['p50_ms']:g}** | {row['p90_ms']:g} | {row['p95_ms']:g} | "
            f"{row['p99_ms']:g} | {row['max_ms']:g} |"
        )
    lines += [
        "",
        f"All {result['answers_stored']} answers are stored. Target: a median under {result['target_ms']:g} ms: "
        f"{'met' if result['met'] else 'not met'}. Other programs were running: the machine's load was "
        f"{result['load_before']:g} before and {result['load_after']:g} after.",
        "",
        "```bash",
        "python benchmarks/study_load.py --out results/study",
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write `load.json` and `load.md`."""
    parser = parser_of(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--answers", type=int, default=30)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=100, help="of each origin")
    options = parser.parse_args()
    result = measure(options.readers, options.answers, options.pause, options.size, options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    files.write_json(options.out / "load.json", result)
    files.write_text(options.out / "load.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
