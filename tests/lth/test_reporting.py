"""The report of a run: one file, all numbers in it, no network, no error in a browser."""

import base64
import csv
import html
import io
import json
import re
import shutil
import subprocess

import pytest

from quatgrad import lth
from quatgrad.errors import RunError
from quatgrad.lth.command import cli, reporting
from quatgrad.lth.results.run import Run

pytest.importorskip("bokeh")
BROWSERS = "chromium", "chromium-browser", "google-chrome"
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    options = {"subset": 60, "epochs": 2, "width": 24, "levels": 1, "trials": 2}
    return lth.run(preset="smoke", out=str(out), **options).run


@pytest.fixture(scope="module")
def report(run):
    assert cli.main(["report", str(run.path)]) == 0
    return run.path / "report.html"


def tables(text):
    """Name -> rows, of each CSV that can be saved."""
    links = re.findall(r'download="(\w+).csv" href="data:text/csv;base64,([^"]+)"', text)
    return {
        name: list(csv.DictReader(io.StringIO(base64.b64decode(data).decode())))
        for name, data in links
    }


def test_it_has_every_number_of_the_run(run, report):
    text = report.read_text()
    found = tables(text)
    assert [*found] == ["levels", "epochs", "masks", "about"]
    levels = [x for curve in run.curves.values() for x in curve]
    assert [float(row["accuracy %"]) for row in found["levels"]] == [
        100 * x.accuracy for x in levels
    ]
    assert all(float(row["kB"]) > 0 and float(row["ms"]) > 0 for row in found["levels"])
    assert len(found["epochs"]) == 2 * len(levels)
    assert {float(r["alive %"]) for r in found["masks"] if r["level"] == "0"} == {100.0}
    assert {"preset": "smoke", "width": "24"}.items() <= {
        row["what"]: row["value"] for row in found["about"]
    }.items()
    assert "width 24, 60 training images, 2 epochs a level; 2 seeds" in text


def test_it_needs_no_network_and_no_script(report):
    text = report.read_text()
    page_of_text = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=.https?:", text)
    assert '<noscript><img alt="' in page_of_text
    assert page_of_text.count("<table") == 4
    assert len(text) < 3e6


def test_tables_and_curves_are_found_by_keyboard_and_by_screen_readers(report):
    text = re.sub(r"<script.*?</script>", "", report.read_text(), flags=re.S)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert text.count("<main>") == text.count("<h1>") == 1
    assert re.findall(r"<(h\d)>", text) == ["h1", "h2", "h2", "h2", "h2"]
    for name in tables(text):  # each can be scrolled by keys, and has a caption and heads
        region = f'<div class="wide" role="region" tabindex="0" aria-label="{name}: a table">'
        assert f'{region}<table class="sorts" id="{name}"><caption>' in text
    assert text.count("<th scope=col>") == len(re.findall(r"<th\b", text))
    links = re.findall(r'<figcaption>[^<]*<a href="#(\w+)">', text)
    assert links == ["levels", "epochs"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_draws_it_without_an_error(report, tmp_path):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
               f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom",
               report.as_uri()]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wrong = [s for s in told.stderr.splitlines() if "CONSOLE" in s and re.search("rror", s)]
    assert wrong == []
    assert told.stdout.count('<button type="button">') > 10  # the heads of tables that sort
    assert told.stdout.count("bk-Figure") == 2


#: Sorts by a head, as a key on it does, and says in the title what came of it.
TRY = """<script>addEventListener("load", () => setTimeout(() => {
  const table = document.getElementById("levels"), button = table.querySelectorAll("th button")[2];
  button.focus(); button.click();
  document.title = JSON.stringify({page: document.documentElement.scrollWidth, window: innerWidth,
    focused: document.activeElement === button, sorted: button.parentElement.ariaSort,
    weights: [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value))});
}, 3000))</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_narrow_window_nothing_is_cut_off_and_a_table_sorts(report, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(report.read_text() + TRY)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
               f"--user-data-dir={tmp_path}", "--virtual-time-budget=10000", "--dump-dom",
               page.as_uri()]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = json.loads(html.unescape(re.search(r"<title>(\{.*?\})</title>", told)[1]))
    assert found["page"] <= found["window"] <= 500
    assert found["focused"] is True
    assert found["sorted"] == "ascending"
    assert found["weights"] == sorted(found["weights"])
    assert len(set(found["weights"])) > 1


def test_without_a_finished_level_there_is_nothing_to_report(tmp_path):
    with pytest.raises(RunError, match="nothing to report"):
        reporting.write(Run(tmp_path), tmp_path / "a.html")
