"""The HTML page in a real browser: what it draws, what it complains about, how it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sample_run import sample

from falsefloor.report.page import page
from falsefloor.store.reader import RunReader
from falsefloor.store.run_dir import RunDir

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)


def browse(html: Path, *flags: str) -> tuple[str, list[str]]:
    """What the browser writes to stdout, and every line of its console; beside the page is its profile."""
    profile = html.parent / "profile"
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", *flags, html.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, re.findall(r"CONSOLE.*?\] (.*)", done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def run(folder: Path) -> RunDir:
    return sample(folder)


@pytest.fixture(scope="module")
def report(folder: Path, run: RunDir) -> Path:
    """The page of a run of three inputs."""
    with RunReader(run) as reader:
        (folder / "report.html").write_text(page(reader), encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def printed(report: Path) -> tuple[Path, list[str]]:
    """The page on paper, and what was said on the console meanwhile."""
    pdf = report.with_name("report.pdf")
    _, console = browse(report, "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    return pdf, console


def test_a_thousand_estimates_are_drawn_without_a_word_on_the_console(folder: Path) -> None:
    large = folder / "large.html"
    with RunReader(sample(folder, inputs=112)) as reader:
        large.write_text(page(reader), encoding="utf-8")
    dom, console = browse(large, "--dump-dom")
    assert console == []
    assert dom.count('<tr><td class="n" data-head="input">') == 112 * 9 and dom.rstrip().endswith("</html>")
    assert "REFUTED" in dom and "<svg" in dom


def test_a_script_that_got_in_would_be_stopped_and_counted(report: Path) -> None:
    planted = report.with_name("planted.html")
    script = "<script>document.title = 'owned'</script></body>"
    planted.write_text(report.read_text(encoding="utf-8").replace("</body>", script), encoding="utf-8")
    dom, console = browse(planted, "--dump-dom")
    assert "<title>owned" not in dom
    assert any("Content Security Policy" in line for line in console)


def test_the_page_prints(printed: tuple[Path, list[str]]) -> None:
    pdf, console = printed
    assert console == [] and pdf.read_bytes().startswith(b"%PDF") and pdf.stat().st_size > 20_000


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="no pdftotext here: apt-get install poppler-utils")
def test_print_cuts_no_verdict_and_folds_nothing_away(run: RunDir, printed: tuple[Path, list[str]]) -> None:
    command = ["pdftotext", "-layout", str(printed[0]), "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = " ".join(told.split())
    for said in (
        "REFUTED",
        "FF201 floor above ceiling",
        f"falsefloor replay {run.id} ",
        "Evidence:",
        "To cite",
    ):
        assert said in words
    # every estimate is there, with its verdict in a word, on paper that somebody would print
    assert told.count("\f") <= 8
    assert words.count(" held ") >= 6 and "@software{falsefloor" in words


def test_on_a_phone_nothing_is_wider_than_the_screen_but_what_scrolls(report: Path) -> None:
    """A page that measures itself in a frame of 375 pixels: what sticks out of no box that scrolls."""
    text = report.read_text(encoding="utf-8")
    measure = """<script>addEventListener("load", () => {
      const wide = [...document.querySelectorAll("body *")].filter(
        one => one.getBoundingClientRect().right > 376 && !one.closest(".scroll, svg"));
      document.title = "sticks out: " + wide.map(one => one.tagName + "." + one.className).join(" ");
    })</script></body>"""
    probe = text.replace("default-src 'none';", "").replace("</body>", measure)
    phone = report.with_name("phone.html")
    phone.write_text(probe, encoding="utf-8")
    frame = report.with_name("frame.html")
    frame.write_text(
        '<body style="margin:0"><iframe src="phone.html" style="width:375px;height:9999px;border:0"'
        ' onload="document.title = this.contentDocument.title"></iframe>',
        encoding="utf-8",
    )
    dom, _ = browse(frame, "--dump-dom", "--allow-file-access-from-files")
    assert "<title>sticks out:</title>" in dom, dom[:300]
