"""A reader at the keyboard of a real browser: every preset, two window sizes, a server that dies."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datadouble.cohort import Cohort
from datadouble.study.create import create_study
from datadouble.study.links import link_path
from datadouble.study.protocol import read_protocol, with_counts
from datadouble.study.records import SystemClock
from datadouble.study.store import Store
from datadouble.study.web.app import make_app

pytest.importorskip("uvicorn", reason="the extra `study` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

LAPTOP, TABLET = {"width": 1366, "height": 768}, {"width": 1024, "height": 768}
PATIENCE = 30_000  # ms


class Forker:
    """Servers that start at once and are killed without warning (see forker.py)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.living: set[int] = set()

    def start(self, path: Path, port: int = 0, days: float = 0.0) -> tuple[int, int]:
        """Serve a study; return port and process id."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{path}\t{port}\t{days}\n")
        self.process.stdin.flush()
        at, pid = map(int, self.process.stdout.readline().split())
        self.living.add(pid)
        return at, pid

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.living.discard(pid)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.002)

    def close(self) -> None:
        for pid in list(self.living):
            self.kill(pid)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait(20)


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    made = Forker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium, or the one that `playwright install chromium` has put there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as driver:
        try:
            opened = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no Chromium to be had: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A tab that reports its own errors, and every request that leaves this machine."""
    context = browser.new_context(viewport=LAPTOP, has_touch=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
    opened.on(
        "request", lambda r: None if "//127.0.0.1:" in r.url or r.url[:5] == "blob:" else faults.append(r.url)
    )
    yield opened
    context.close()
    assert faults == []


def make(path: Path, cohorts: tuple[Cohort, Cohort], preset: str, images: int = 2, practice: int = 1) -> str:
    """Make a small study with one reader and return the reader's path."""
    protocol = read_protocol(preset)
    if protocol.parts[0].per_class:
        images = 1
    create_study(with_counts(protocol, real=images, synthetic=images, practice=practice), *cohorts, path)
    with Store.open(path) as store:
        return link_path(store.new_link(store.add_reader("R1").id), "reader")


@contextmanager
def served(path: Path, clock: Any) -> Iterator[str]:
    """Serve a study from a thread."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(
            uvicorn.Config(make_app(path, clock=clock), access_log=False, log_level="warning")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


def until(page: Any, condition: str) -> None:
    """Wait for a condition. Asked again and again: Playwright's own way needs `eval`, which the policy forbids."""
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end:
        with contextlib.suppress(playwright.Error):  # between two pages
            if page.evaluate(condition):
                return
        page.wait_for_timeout(10)
    raise AssertionError(f"never: {condition}; {page.evaluate('document.body.dataset.state')}")


def state_of(page: Any, *states: str) -> str:
    """Wait until the page is in one of the states and return it."""
    until(page, f"{list(states)}.includes(document.body.dataset.state)")
    return page.evaluate("document.body.dataset.state")


STILL = ("judging", "feedback", "brief", "break", "paused", "waiting", "finished")


def answer(page: Any, key: str) -> None:
    """Answer the image on the screen by the keyboard."""
    before = page.evaluate("document.body.dataset.shown")
    page.keyboard.press(key)
    if page.locator(".confidence").count():
        page.keyboard.press("End")
        page.keyboard.press("ArrowLeft")
    if page.locator("#submit").is_visible():
        page.keyboard.press("Enter")
    until(
        page,
        f"document.body.dataset.state === 'feedback' || document.body.dataset.shown !== '{before}' || "
        f"{list(STILL[2:])}.includes(document.body.dataset.state)",
    )


def keys_of(page: Any) -> list[str]:
    return page.locator(".answers kbd").all_inner_texts()


def nothing_scrolls(page: Any) -> bool:
    return page.evaluate(
        "document.scrollingElement.scrollHeight <= innerHeight && document.scrollingElement.scrollWidth <= innerWidth "
        "&& document.getElementById('panel').scrollHeight <= document.getElementById('panel').clientHeight"
    )


FREE = """
name = "free"
title = "A protocol of one's own"
instructions = "Two questions about each image."

[[questions]]
key = "origin"
text = "Real or synthetic?"
truth = "origin"
positive = "synthetic"
mark = true

[[questions.answers]]
key = "r"
value = "real"
label = "Real"
truth = ["real"]

[[questions.answers]]
key = "s"
value = "synthetic"
label = "Synthetic"
truth = ["synthetic"]

[[questions]]
key = "quality"
text = "How good is it?"
confidence = true
free_text = true

[[questions.answers]]
key = "g"
value = "good"
label = "Good"

[[questions.answers]]
key = "b"
value = "bad"
label = "Bad"

[[parts]]
name = "only"
real = 3
synthetic = 3
"""


@pytest.mark.parametrize(
    "preset", ["demo", "coldit-1", "coldit-2", "coldit-3", "diffguard", "trained", "free"]
)
def test_a_preset_by_keyboard_alone_with_a_server_killed_in_the_middle(
    page: Any, forker: Forker, tmp_path: Path, cohorts: tuple[Cohort, Cohort], preset: str
) -> None:
    own = tmp_path / "free.toml"
    own.write_text(FREE)
    link = make(tmp_path / "study", cohorts, str(own) if preset == "free" else preset)
    days, waits, judged, killed, sizes = 0, 0, 0, 0, set()
    with Store.open(tmp_path / "study") as store:
        middle, questions = len(store.study.truth()) // 2, store.study.protocol.questions
    port, server = forker.start(tmp_path / "study")
    page.goto(f"http://127.0.0.1:{port}{link}")
    while (state := state_of(page, *STILL)) != "finished":
        if state == "waiting":
            assert "opens on" in page.inner_text("#screen-text")
            days += 15
            waits += 1
            forker.kill(server)
            _, server = forker.start(tmp_path / "study", port, days)
            page.keyboard.press("Enter")  # look again
            until(page, "document.body.dataset.state !== 'waiting'")
        elif state == "judging":
            size = LAPTOP if judged % 2 else TABLET
            page.set_viewport_size(size)
            assert nothing_scrolls(page), (preset, size)
            sizes.add(size["width"])
            before = page.evaluate("document.body.dataset.shown")
            dies = judged == middle
            if dies:
                forker.kill(server)
            press_answers(page, judged)
            if dies:
                until(page, "!document.getElementById('notice').hidden")
                assert "kept here" in page.inner_text("#notice-text")
                _, server = forker.start(tmp_path / "study", port, days)
                killed += 1
            until(page, f"{gone_from(before)} || document.body.dataset.state === 'feedback'")
            judged += 1
        elif state == "feedback":
            before = page.evaluate("document.body.dataset.shown")
            page.keyboard.press("Enter")
            until(page, gone_from(before))
        else:
            page.keyboard.press("Enter")
            until(page, f"document.body.dataset.state !== '{state}'")
    assert "stored" in page.inner_text("#screen-text")
    forker.kill(server)
    with Store.open(tmp_path / "study") as store:
        table = store.answers_table(practice=True, undone=True)
        assert sizes == {1024, 1366} and killed == 1
        assert judged == len(store.study.truth()) and len(table) == judged * len(questions)
        assert not table.duplicated(["part", "position", "question"]).any()
        assert (table["seconds"].dropna() < 20).all() and table["seconds"].isna().sum() <= len(questions)
        assert waits == sum(part.after_days > 0 for part in store.study.protocol.parts)
        for question in questions:
            mine = table[table["question"] == question.key]
            assert mine["confidence"].isin([95]).all() == question.confidence
            assert mine["mark_x"].notna().all() == (preset == "free" and question.mark)
            assert set(mine["value"]) <= {one.value for one in question.answers}


def press_answers(page: Any, number: int) -> None:
    """Answer every question about the image on the screen by the keyboard, and send."""
    fields = page.locator("#questions fieldset")
    for place in range(fields.count()):
        field = fields.nth(place)
        keys = field.locator(".answers kbd").all_inner_texts()
        page.keyboard.press(keys[number % len(keys)])
        if field.locator(".confidence").count():
            page.keyboard.press("End")
            page.keyboard.press("ArrowLeft")
    if fields.count() > 1:
        for key in ("m", "ArrowLeft", "Enter"):
            page.keyboard.press(key)
    if page.locator("#submit").is_visible():
        page.keyboard.press("Enter")


def gone_from(image: str) -> str:
    return f"document.body.dataset.shown !== '{image}' || {list(STILL[2:])}.includes(document.body.dataset.state)"


def test_all_that_a_page_can_do(page: Any, tmp_path: Path, cohorts: tuple[Cohort, Cohort]) -> None:
    link = make(tmp_path / "study", cohorts, "demo", images=3, practice=0)
    with served(tmp_path / "study", SystemClock()) as base:
        page.goto(base + link)
        state_of(page, "brief")
        page.keyboard.press("Enter")
        state_of(page, "judging")
        keyboard = page.keyboard
        # A mark, a remark and the confidence, by keys; Enter too early stores nothing.
        keyboard.press("r")
        keyboard.press("Enter")
        assert "How sure" in page.inner_text("#hint") and state_of(page, *STILL) == "judging"
        keyboard.press("7")
        keyboard.press("m")
        for _ in range(10):
            keyboard.press("ArrowLeft")
        keyboard.press("Enter")
        keyboard.press("t")
        keyboard.type("<b>up</b>; =1+1 ?")
        keyboard.press("Escape")
        # The view: zoom, true pixel, pan, window, invert, fit. None of it answers.
        for key in ("+", "+", "-", "z"):
            keyboard.press(key)
        assert "100%" in page.inner_text("#reading")
        page.focus("#stage")
        keyboard.press("ArrowRight")
        keyboard.press("Shift+ArrowLeft")
        assert "W 247" in page.inner_text("#reading")
        keyboard.press("i")
        assert page.get_attribute("#invert", "aria-pressed") == "true"
        keyboard.press("f")
        keyboard.press("?")
        assert page.locator("#help").is_visible()
        keyboard.press("s")  # no answer while the help is open
        keyboard.press("?")
        page.locator("#panel").focus()
        # Paused, and gone on with in another tab.
        keyboard.press("p")
        state_of(page, "paused")
        assert not page.locator("#canvas").is_visible()
        keyboard.press("Enter")
        state_of(page, "judging")
        assert page.locator("[aria-pressed=true]").count() == 0
        for key in ("r", "7", "m", *["ArrowLeft"] * 10, "Enter", "t"):
            keyboard.press(key)
        keyboard.type("<b>up</b>; =1+1 ?")
        keyboard.press("Escape")
        keyboard.press("Enter")
        until(page, "document.getElementById('progress-text').innerText.startsWith('2 ')")
        state_of(page, "judging")
        keyboard.press("u")
        until(page, "document.getElementById('progress-text').innerText.startsWith('1 ')")
        state_of(page, "judging")
        # A click marks, the right button does not; a drag of the right button changes the window.
        box = page.locator("#canvas").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.click(x, y)
        assert page.inner_text(".mark span") == "Place marked"
        page.mouse.move(x, y)
        page.mouse.down(button="right")
        page.mouse.move(x + 60, y, steps=4)
        page.mouse.up(button="right")
        assert "W " in page.inner_text("#reading")
        page.mouse.wheel(0, -200)
        page.get_by_role("button", name="s Synthetic").click()
        page.get_by_role("slider").focus()
        keyboard.press("ArrowRight")
        page.get_by_role("button", name="Next image").dblclick()  # counts once
        until(page, "document.getElementById('progress-text').innerText.startsWith('2 ')")
    with Store.open(tmp_path / "study") as store:
        first, second = store.answers_table(undone=True).to_dict("records")
        assert (first["value"], first["confidence"], first["text"]) == ("real", 70, "<b>up</b>; =1+1 ?")
        assert first["mark_x"] == pytest.approx(0.3) and first["mark_y"] == pytest.approx(0.5)
        assert first["undone_at"] and not second["undone_at"]
        assert second["value"] == "synthetic" and second["confidence"] == 55
        assert second["mark_x"] == pytest.approx(0.5, abs=0.02)
        (monitor,) = [row["facts"] for row in store.database.connection.execute("SELECT facts FROM monitor")]
        assert '"screen"' in monitor


def start(path: Path, port: int) -> subprocess.Popen[str]:
    code = "from datadouble.cli import main; main()"
    arguments = ["study", "serve", str(path), "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert server.stdout is not None
    for line in server.stdout:
        if line.startswith("R1: "):
            return server
    raise AssertionError("the server did not start")


def test_a_killed_server_loses_nothing_and_doubles_nothing(
    page: Any, tmp_path: Path, cohorts: tuple[Cohort, Cohort]
) -> None:
    link = make(tmp_path / "study", cohorts, "coldit-1", images=4, practice=0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = start(tmp_path / "study", port)
    try:
        page.goto(f"http://127.0.0.1:{port}{link}")
        state_of(page, "brief")
        page.keyboard.press("Enter")
        for number in range(1, 5):
            state_of(page, "judging")
            answer(page, "rs"[number % 2])
        state_of(page, "judging")
        server.send_signal(signal.SIGKILL)
        server.wait()
        for key in ("s", "4", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("#notice:not([hidden])")
        assert "kept here" in page.inner_text("#notice-text")
        page.keyboard.press("r")  # nothing that is pressed now changes what was answered
        server = start(tmp_path / "study", port)
        page.keyboard.press("Enter")
        page.dispatch_event("#retry", "click")  # seen or not: the page may have tried again by itself
        until(page, "document.getElementById('progress-text').innerText.startsWith('6 ')")
        assert page.locator("#notice").is_hidden()
        # Killed again just when an answer is sent, and the page closed: the answer waits in the browser.
        state_of(page, "judging")
        server.send_signal(signal.SIGKILL)
        server.wait()
        for key in ("r", "6", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("#notice:not([hidden])")
        server = start(tmp_path / "study", port)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"http://127.0.0.1:{port}{link}")
        state_of(page, "brief")
        assert "6 of" in page.inner_text("#screen-text")
        page.keyboard.press("Enter")
        while state_of(page, *STILL) != "finished":
            answer(page, "s")
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    with Store.open(tmp_path / "study") as store:
        table = store.answers_table(undone=True)
        assert list(table["value"])[:6] == ["synthetic", "real", "synthetic", "real", "synthetic", "real"]
        assert list(table["confidence"])[4:6] == [40, 60]
        assert len(table) == len(store.study.truth()) and list(table["position"]) == list(range(len(table)))


def test_two_tabs_and_sixty_images_a_minute(
    page: Any, tmp_path: Path, cohorts: tuple[Cohort, Cohort]
) -> None:
    link = make(tmp_path / "study", cohorts, "coldit-1", images=8, practice=0)
    with served(tmp_path / "study", SystemClock()) as base:
        page.goto(base + link)
        state_of(page, "brief")
        page.keyboard.press("Enter")
        state_of(page, "judging")
        other = page.context.new_page()
        other.goto(base + link)
        state_of(other, "brief")
        other.keyboard.press("Enter")
        state_of(other, "judging")
        other.keyboard.press("s")
        other.keyboard.press("End")
        other.keyboard.press("Enter")
        until(other, "document.getElementById('progress-text').innerText.startsWith('2 ')")
        page.bring_to_front()
        if state_of(page, "judging", "paused") == "paused":
            page.keyboard.press("Enter")
        else:
            answer(page, "r")  # the same image, answered already
        until(page, "document.getElementById('progress-text').innerText.startsWith('2 ')")
        other.close()
        began = time.monotonic()
        for number in range(6):
            if state_of(page, "judging", "paused") == "paused":
                page.keyboard.press("Enter")
                state_of(page, "judging")
            answer(page, "rs"[number % 2])
        seconds = time.monotonic() - began
    with Store.open(tmp_path / "study") as store:
        table = store.answers_table(undone=True)
        assert len(table) == 7 and list(table["position"]) == list(range(7))
        assert table["value"].iloc[0] == "synthetic"
    # A minute for sixty where the machine is free: here a bound that a busy one holds too.
    assert seconds < 30, seconds


def test_the_administrators_page(page: Any, study_path: Path) -> None:
    with Store.open(study_path) as store:
        store.add_reader("R1")
        admin = link_path(store.new_link(kind="admin"), "admin")
    with served(study_path, SystemClock()) as base:
        page.goto(base + admin)
        page.fill("input[name=name]", "R2 <i>")
        page.keyboard.press("Enter")
        page.wait_for_selector("#fresh:not([hidden])")
        link = page.input_value("#fresh-link")
        assert re.match(re.escape(base) + r"/r/\S+$", link)
        until(page, "document.querySelectorAll('tbody tr').length === 2")
        assert "R2 <i>" in page.inner_text("#readers")
        assert page.request.get(link).status == 200
        page.on("dialog", lambda dialog: dialog.accept())
        page.locator("[data-do=revoke]").nth(1).click()
        page.wait_for_selector("tr.excluded")
        assert page.request.get(link).status == 403
        with page.expect_download() as download:
            page.click("#export")
        assert download.value.suggested_filename == "plain-answers.csv"
