import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests import photos
from tests.deploy.local_runs import LocalRun
from tests.receivers import Receiver

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
# What a browser's own reader of events is told, until it has come back after the end of the job once more.
FOLLOW = """path => new Promise((resolve) => {
  const told = [];
  let hasEnded = false;
  const source = new EventSource(path);
  for (const type of ["job.queued", "job.processing", "image.processing", "image.done", "job.done"]) {
    source.addEventListener(type, (event) => told.push(JSON.parse(event.data).type));
  }
  source.onerror = () => {
    if (hasEnded) {
      source.close();
      resolve(told);
    }
    hasEnded = told.includes("job.done");
  };
})"""
# Milliseconds, for two slow cores that other tests share.
PATIENCE = 60_000

# In CI a missing browser fails the tests; .ci/run installs it.
pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM.exists() and not os.environ.get("CI"), reason="Chromium is not installed"
    ),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with LocalRun(tmp_path_factory.mktemp("browser") / "var") as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, service):
    """A page that gets nothing from elsewhere, and whose scripts don't fail."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    elsewhere, errors = [], []
    page.on("requestfinished", lambda request: elsewhere.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert [url for url in elsewhere if not url.startswith((service.url, "data:", "blob:"))] == []
    assert errors == []
    context.close()


@pytest.fixture
def photo_file(tmp_path):
    path = tmp_path / "<b>holiday.jpg"
    path.write_bytes(photos.from_a_camera())
    return path


def submit(page: Page, service: LocalRun, *files: Path, pipeline: str = "analyze") -> None:
    page.goto(f"{service.url}/ui")
    expect(page.locator("#pipeline option")).not_to_have_count(0)
    page.select_option("#pipeline", pipeline)
    page.set_input_files("#file", list(files))
    page.click("button[type=submit]")


def test_a_photo_is_uploaded_followed_and_shown(page, service, photo_file):
    submit(page, service, photo_file)

    job = page.locator("article.job")
    expect(job.locator("h2 .status")).to_have_text("done")
    expect(job.locator(".image .name")).to_have_text("<b>holiday.jpg")
    pictures = job.locator("figure img")
    expect(pictures).to_have_count(2)
    for number in range(2):
        expect(pictures.nth(number)).to_have_js_property("complete", True)
        assert pictures.nth(number).evaluate("picture => picture.naturalWidth") in (150, 300)
    expect(job.locator("table").first).to_contain_text("640")
    expect(job.locator(".cancel")).to_be_hidden()


def test_contours_show_their_overlay_and_files(page, service, photo_file):
    submit(page, service, photo_file, pipeline="contours")

    job = page.locator("article.job")
    expect(job.locator("h2 .status")).to_have_text("done")
    expect(job.get_by_role("link", name=re.compile("contours.json"))).to_be_visible()
    expect(job.get_by_alt_text("contours-overlay")).to_be_visible()


def test_what_is_wrong_with_an_upload_is_said(page, service, tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("no picture at all")
    page.goto(f"{service.url}/ui")
    expect(page.locator("#pipeline option")).not_to_have_count(0)
    page.set_input_files("#file", text)
    page.click("button[type=submit]")

    expect(page.locator("#problem")).to_contain_text("/file: Send JPEG, PNG")


def test_a_damaged_photo_shows_its_error(page, service, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(photos.jpeg()[:5000])

    submit(page, service, damaged)

    expect(page.locator("article.job h2 .status")).to_have_text("failed")
    expect(page.locator(".image .error")).to_contain_text("image_truncated")


def test_a_callback_url_from_the_page_is_called(page, service, photo_file):
    with Receiver() as receiver:
        page.goto(f"{service.url}/ui")
        expect(page.locator("#pipeline option")).not_to_have_count(0)
        page.set_input_files("#file", photo_file)
        page.fill("input[name=callback_url]", receiver.url())
        page.click("button[type=submit]")

        receiver.wait_for(1, timeout=60)


def test_a_page_follows_a_job_and_is_told_each_event_once(page, service, photo_file):
    fields = {"pipeline": "metadata", "cache": "false"}
    files = {"file": ("photo.jpg", photo_file.read_bytes())}
    job = service.http.post(f"{service.url}/v1/jobs", data=fields, files=files).json()
    page.goto(f"{service.url}/ui")

    told = page.evaluate(FOLLOW, job["links"]["events"])

    assert told == ["job.queued", "job.processing", "image.processing", "image.done", "job.done"]


@pytest.mark.parametrize(("path", "text"), [("/docs", "/v1/jobs"), ("/redoc", "Download")])
def test_the_documentation_renders_without_the_internet(page, service, path, text):
    page.goto(f"{service.url}{path}")

    expect(page.get_by_text(text).first).to_be_visible()
