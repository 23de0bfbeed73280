"""The page end to end: every section, escaped and self-contained; what is missing is said; no patient and no path."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from datadouble.audit.parts import Part
from datadouble.audit.report import write_report

SECTIONS = (
    "controls",
    "privacy",
    "fidelity",
    "usefulness",
    "realism",
    "pictures",
    "training",
    "settings",
    "reading",
)


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.addresses, self.tags, self.text, self.ids, self.images = [], [], "", [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.addresses += [
            attrs[name] for name in ("src", "href", "action", "data", "poster") if name in attrs
        ]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.images += [attrs] if tag == "img" else []

    def handle_data(self, data):
        if self.tags[-1:] != ["style"]:
            self.text += data


@pytest.fixture
def write(tmp_path):
    def write_it(evidence, parts, context):
        write_report(tmp_path / "report.html", evidence, parts, context)
        return (tmp_path / "report.html").read_text()

    return write_it


@pytest.fixture(scope="module")
def html(tmp_path_factory, passing, measured, context):
    """The page of an audit that passes."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, passing, measured[1], context)
    return path.read_text()


def test_it_is_self_contained_and_escaped(html):
    page = Page(html)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert "url(" not in html
    assert "<script>alert('x')</script> & \"4\"" in page.text  # shown as text
    assert "real <b>" in page.text


def test_every_section_is_there_and_nothing_in_it_is_missing(html):
    page = Page(html)
    places = [page.ids.index(name) for name in SECTIONS]
    assert places == sorted(places)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
    body = page.text.split("Controls", 1)[1]
    assert "Not measured" not in body
    assert "–" not in body  # what a template asks for and the evidence lacks
    plots = sum(image["src"].startswith("data:image/svg") for image in page.images)
    assert plots == 20
    assert all(image.get("alt") for image in page.images)


def test_no_patient_and_no_path(html, cohorts):
    for secret in ("secret", "/srv", str(cohorts.root)):
        assert secret not in html
    assert "s9999" in html  # the broken picture is named
    assert "real: [patient]" in html


def test_the_first_screen_comes_before_everything_else(html):
    text = Page(html).text
    order = ["passed", "How faithful?", "How useful?", "How safe?", "How real?", "Against which attacker"]
    places = [text.index(words) for words in [*order, "Against which controls", "An audit that cannot fail"]]
    assert places == sorted(places)


def test_only_the_copy_is_called_one_and_its_box_lies_inside(html):
    assert html.count('class="pair copy"') == 1
    boxes = re.findall(r"left:([\d.]+)%;top:([\d.]+)%;width:([\d.]+)%;height:([\d.]+)%", html)
    assert ("10.0", "20.0", "40.0", "40.0") in boxes
    assert ("0.0", "20.0", "30.0", "40.0") in boxes  # reached out to the left
    assert ("40.0", "10.0", "40.0", "40.0") in boxes  # left and right exchanged
    assert len(boxes) == 5  # one of six lies outside its picture
    assert "mirrored" in html


@pytest.mark.parametrize("empty", [None, {}])
def test_a_section_that_was_not_measured_says_so(write, evidence, context, empty, judge_again):
    for name in ("fidelity", "privacy", "usefulness", "realism", "controls"):
        evidence[name] = empty
    text = Page(write(judge_again(evidence), {}, context)).text
    assert text.count("Not measured") > 12
    assert "datadouble split" in text
    assert "inconclusive" in text.split("How faithful?")[0]


def test_the_evidence_may_say_why_a_part_is_missing(write, evidence, parts, context):
    evidence["usefulness"] = {"classification": {"note": "not measured: no test split"}}
    evidence["fidelity"]["lesions"] = {"measured": False, "note": "not measured: no masks in the double"}
    parts = {name: part for name, part in parts.items() if name != "lesions"}
    text = Page(write(evidence, parts, context)).text
    assert "Not measured: no test split." in text
    assert "Not measured: no masks in the double." in text


def test_any_one_section_may_be_missing(write, evidence, parts, context, monkeypatch):
    monkeypatch.setattr("datadouble.audit.report.page.draw_plots", lambda *_: {})  # tested by themselves
    monkeypatch.setattr("datadouble.audit.report.shown.thumbnail", lambda *_: None)
    monkeypatch.setattr("datadouble.audit.report.shown.sheet", lambda *_: [])
    paths = [(top, key) for top in ("fidelity", "privacy", "usefulness", "realism") for key in evidence[top]]
    for top, key in paths:
        kept = evidence[top].pop(key)
        assert len(write(evidence, parts, context)) > 10_000, (top, key)
        evidence[top][key] = kept


def test_without_run_pictures_or_arrays(write, evidence, context):
    bare = replace(context, run=None, reference_rows=np.zeros(0, np.int64), at_size=0, unreadable=[])
    page = Page(write(evidence, {"copies": Part({}), "coverage": Part({})}, bare))
    assert "training" not in page.ids
    assert "none" in page.text


def test_equal_input_equal_bytes(html, write, evidence, parts, context):
    before = json.dumps(evidence)
    assert write(evidence, parts, context) == html
    assert json.dumps(evidence) == before


def test_rows_that_no_cohort_has_are_no_reason_to_fail(write, evidence, parts, context):
    parts["copies"] = Part({}, {"pairs": np.array([[9999, 9999]]), "pair_score": np.array([np.nan])})
    assert "unreadable" in write(evidence, parts, context)
