"""The folder that an analysis writes: evidence, page, tables, pictures, and the section in the audit's report."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from datadouble.errors import DataDoubleError
from datadouble.study.analysis import analyse_study, read_analysis, section_html
from datadouble.study.analysis.csv import IMRMC_COLUMNS, imrmc_text
from datadouble.study.simulate import SimulatedReader, panel, simulate_answers
from datadouble.study.store import Store


@pytest.fixture(scope="module")
def answered(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answered") / "study"
    shutil.copytree(made, path)
    blind = [SimulatedReader(f"Dr <b>Anne</b> {i}", dprime=-3.0, group="=1+1") for i in range(2)]
    simulate_answers(path, [*panel(juniors=2, seniors=2, dprime=(-3.0, -3.0)), *blind])
    return path


@pytest.fixture(scope="module")
def out(answered: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "analysis"
    analyse_study(answered, path)
    return path


def test_page_is_self_contained_escaped_and_names_nobody(out: Path, answered: Path) -> None:
    page = (out / "analysis.html").read_text()
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    with Store.open(answered) as store:
        patients = set(store.answers_table()["patient"])
        sources = {row.source_image_id for row in store.study.truth().values()}
    for text in (page, (out / "study-evidence.json").read_text(), (out / "answers-long.csv").read_text()):
        assert "Anne" not in text and "<b>Anne" not in text
        assert not any(patient in text for patient in patients)
        assert not any(f'"{source}"' in text for source in sources)
    assert str(answered) not in page
    assert page.count("data:image/svg+xml") >= 6


def test_simulated_readers_are_never_taken_for_people(out: Path) -> None:
    evidence = read_analysis(out)
    assert evidence["study"]["simulated_readers"] == ["R1", "R2", "R3", "R4", "R5", "R6"]
    assert "simulated" in evidence["notes"][0]
    assert "6 of them simulated" in (out / "analysis.html").read_text()
    assert "6 of them simulated" in section_html(evidence)


def test_images_that_deceived_are_shown(out: Path) -> None:
    evidence = read_analysis(out)
    assert evidence["tasks"][0]["deceived"]["images"]
    assert "data:image/jpeg" in (out / "analysis.html").read_text()
    assert (out / "pictures" / "contact-1.png").is_file()


def test_csv_is_safe_and_imrmc_has_the_truth_of_every_case(out: Path) -> None:
    with open(out / "answers-long.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 24
    assert {row["group"] for row in rows} == {"junior", "senior", "'=1+1"}
    with open(out / "imrmc-question-1.csv", newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == IMRMC_COLUMNS
        looks = list(reader)
    truth = {row["caseID"]: row["score"] for row in looks if row["readerID"] == "truth"}
    assert len(truth) == 12 and sorted(truth.values()) == ["0"] * 6 + ["1"] * 6
    others = [row for row in looks if row["readerID"] != "truth"]
    assert len(others) == 6 * 12 * 2 and {row["modalityID"] for row in others} == {"one", "two"}


def test_imrmc_text_numbers_readers_cases_and_modalities() -> None:
    rows = [
        {"readerID": "truth", "caseID": "C0001", "modalityID": "truth", "score": 1},
        {"readerID": "truth", "caseID": "C0002", "modalityID": "truth", "score": 0},
        {"readerID": "R2", "caseID": "C0001", "modalityID": "full", "score": -3.5},
        {"readerID": "R2", "caseID": "C0002", "modalityID": "full", "score": 4.0},
    ]
    head, _, data = imrmc_text(rows).partition("BEGIN DATA:\n")
    assert {"NR: 1", "N0: 1", "N1: 1", "NM: 1"} <= set(head.splitlines())
    assert data.splitlines() == ["-1,1,0,1", "-1,2,0,0", "1,1,1,-3.5", "1,2,1,4"]


def test_the_same_study_gives_the_same_evidence(out: Path, answered: Path, tmp_path: Path) -> None:
    assert analyse_study(answered, tmp_path / "again") == json.loads(
        (out / "study-evidence.json").read_text()
    )


def test_excluded_readers_are_left_out_and_said(answered: Path, tmp_path: Path) -> None:
    shutil.copytree(answered, tmp_path / "study")
    with Store.open(tmp_path / "study") as store:
        store.revoke(store.readers()[0].id)
    evidence = analyse_study(tmp_path / "study", tmp_path / "out")
    assert [r["reader"] for r in evidence["tasks"][0]["readers"]] == ["R2", "R3", "R4", "R5", "R6"]
    assert any("Excluded" in note and "R1" in note for note in evidence["notes"])


def test_a_study_without_answers_and_a_folder_that_is_none_are_refused(
    study_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataDoubleError, match="nothing was answered"):
        analyse_study(study_path, tmp_path / "out")
    with pytest.raises(DataDoubleError, match="no analysis"):
        read_analysis(tmp_path)


def test_section_stands_in_the_audits_report(out: Path) -> None:
    from datadouble.audit.report.page import environment

    section = section_html(read_analysis(out), out)
    assert section.startswith("<section") or '<section id="readers">' in section
    assert section.count("<section") == section.count("</section>") == 1
    template = environment().get_template("report.html.j2")
    fields = {"e": {}, "plots": {}, "pictures": {}, "answers": [], "reasons": []}
    page = template.render(**fields, study=section)
    assert '<section id="readers">' in page and 'href="#readers"' in page
    assert "#readers" not in template.render(**fields, study="")


def test_the_verb_says_the_answers_and_the_audit_refuses_another_folder(
    answered: Path, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from datadouble.cli.app import app

    result = CliRunner().invoke(app, ["study", "analyse", str(answered), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Can they tell real from synthetic?" in result.output and "analysis.html" in result.output
    arguments = ["double", "--real", "real", "--out", str(tmp_path / "audit"), "--study", str(tmp_path)]
    refused = CliRunner().invoke(app, ["audit", *arguments])
    assert refused.exit_code == 1 and "no analysis" in refused.output
