"""The pages as people meet them, in a real Chromium: a complaint of its console fails every test."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gitreg import site
from gitreg.catalog import Catalog
from tests.browsing import CHROMIUM, SANDBOX, Visitor, as_site, chromium, needs_chromium, until
from tests.support import Workshop, run
from tests.test_catalog import Shelf
from tests.test_site import EVIL, evil_shelf
from tests.test_site_serving import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium
PAGES = (
    "index.html",
    "models/churn/index.html",
    "version.html#churn@1.2.0",
    "compare.html",
    "compare.html#churn@1.0.0,churn@1.2.0,forecast@2.0.0",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of `churn` (three versions, two stages), `forecast`, and 450 small models."""
    one = Shelf(tmp_path_factory.mktemp("shelf") / "shelf")
    folder = one.root / "models" / "churn"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(
        "# About\n\nWho *leaves*. [Policy](https://example.org)\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n"
    )
    (folder / "samples.json").write_text('[{"x": [1.5, 2]}, {"x": [3, 4]}]')
    (folder / "model.onnx.dvc").write_text(
        "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 77000\n  path: model.onnx\n"
    )
    schema = {
        "inputs": [{"name": "x", "data_type": "float", "shape": [2]}],
        "outputs": [{"name": "p", "data_type": "float", "shape": [1]}],
    }
    said: dict[str, Any] = {
        "card": "README.md", "sample_data": "samples.json", "schema": schema, "owners": ["@risk"], "license": "MIT",
        "description": "Probability that a customer leaves.", "tags": {"domain": "billing"}, "requirements": ["numpy>=1.24"],
        "lineage": {"code": {"repo": "https://git.example/churn", "commit": "0f3c"}, "data": [{"name": "customers", "url": "s3://b/c"}]},
    }  # fmt: skip
    for i, accuracy in enumerate((0.9, 0.93, 0.95)):
        one.register(
            "churn",
            f"1.{i}.0",
            metrics={"accuracy": accuracy, "loss": 0.4 + i / 10, "events": 120_482_345_678 * (i + 1)},
            params={"depth": i},
            **said,
        )
    one.tag("churn#staging#4", "churn@v1.0.0")
    one.tag("churn#production#5", "churn@v1.0.0")
    one.now += 86_400 * 30
    one.tag("churn#staging#6", "churn@v1.2.0")
    one.register(
        "forecast", "2.0.0", type="xgboost", metrics={"rmse": 1.5}, owners=["@growth"], description="Demand."
    )
    for i in range(450):
        one.write(f"small-{i:03}", tags={"team": f"t{i % 7}"})
    commit = one.commit()
    tags = (
        f"tag small-{i:03}@v1.{i}.0\nfrom {commit}\ntagger A <a@b> {one.now + i} +0000\ndata 1\nx\n"
        for i in range(450)
    )
    more = (
        f"tag small-201@v2.{i}.0\nfrom {commit}\ntagger A <a@b> {one.now + 500 + i} +0000\ndata 1\nx\n"
        for i in range(40)
    )
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=one.root, input="".join([*tags, *more]).encode(), check=True
    )
    out = tmp_path_factory.mktemp("site") / "out"
    site.build(Catalog(one.root), out)
    return out


@pytest.fixture(scope="module")
def hosted(built: Path) -> Iterator[str]:
    """The same below a folder of a web server, as GitHub Pages has it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def send_error(self, code: int, *rest: Any, **more: Any) -> None:
            super().send_error(code, *rest, **more)

    handler = functools.partial(Quiet, directory=str(built.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{built.name}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visitor(browser: Browser, built: Path) -> Iterator[Visitor]:
    """Opens the built folder; whatever its browser complains of fails the test."""
    one = Visitor(browser, as_site(built))
    yield one
    one.context.close()
    assert one.complaints == []
    assert one.strangers == []


# Everywhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}],
    ids=["light", "dark", "phone"],
)
@pytest.mark.parametrize("from_", ["folder", "server"])
def test_every_page_works_and_fits(
    browser: Browser, built: Path, hosted: str, how: dict[str, Any], from_: str
) -> None:
    one = Visitor(browser, as_site(built) if from_ == "folder" else hosted, **how)
    for path in PAGES:
        page = one.go(path)
        assert page.locator("h1").count() == 1, path
        assert one.fits(), path
        assert page.evaluate(UNNAMED) == [], path
    assert page.locator("section h2").all_inner_texts()[0] == "Metrics"
    one.context.close()
    assert (one.complaints, one.strangers) == ([], [])


# What a screen reader would have no name for.
UNNAMED = """() => {
  const named = (node) => node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.title
    || (node.labels && node.labels.length) || node.textContent.trim();
  const shown = [...document.querySelectorAll('a, button, input, select, textarea, svg[role=img], [role=region]')]
    .filter((node) => node.checkVisibility());
  const titles = [...document.querySelectorAll('[role=region]')].map(named);
  const outside = (text) => { // of the picture: cut off
    const [box, all] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()];
    return box.left < all.left - 1 || box.right > all.right + 1;
  };
  return [...shown.filter((node) => !named(node)).map((node) => node.outerHTML.slice(0, 120)),
    ...titles.filter((title, i) => titles.indexOf(title) !== i),
    ...[...document.querySelectorAll('th')].filter((head) => !head.textContent.trim()).map((head) => head.outerHTML),
    ...[...document.querySelectorAll('pre')].filter((pre) => pre.tabIndex < 0).map((pre) => pre.outerHTML),
    ...[...document.querySelectorAll('svg text')].filter((text) => text.checkVisibility() && outside(text)).map((text) => text.outerHTML),
    ...[...document.querySelectorAll('svg:not([role=img], [aria-hidden])')].map((node) => node.outerHTML.slice(0, 120)),
    ...[...document.querySelectorAll('thead th:not([scope])')].map((node) => node.outerHTML)
      .filter((text) => !document.querySelector('.card').innerHTML.includes(text))];
}"""


def test_models_pages_are_read_without_scripts(browser: Browser, built: Path) -> None:
    one = Visitor(browser, as_site(built), java_script_enabled=False)
    text = one.go("models/churn/index.html").locator("main").inner_text()
    assert "Probability that a customer leaves." in text and "0.95" in text and "gitreg.load_model" in text
    assert "input" in text and "float" in text  # the schema of the latest version
    assert "churn" in one.go().locator("#models").inner_text()
    assert "@risk" in one.page.locator("#models").inner_text()
    for path, command in (("version.html#churn@1.2.0", "gitreg show"), ("compare.html", "gitreg compare")):
        one.page.goto(one.site + path)
        assert command in one.page.locator("noscript").inner_text()
        assert one.page.locator("noscript a").get_attribute("href") == "index.html"
    one.context.close()


def test_the_theme_is_the_systems_or_what_was_chosen(browser: Browser, built: Path) -> None:
    one = Visitor(browser, as_site(built), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    page = one.go()
    dark = page.evaluate(ground)
    page.click("#theme")
    light = page.evaluate(ground)
    assert (dark, light) == ("rgb(17, 20, 22)", "rgb(250, 250, 249)")
    assert one.go("compare.html").evaluate(ground) == light
    assert page.inner_text("#theme") == "Theme: light"
    page.click("#theme")
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: auto" and page.evaluate(ground) == dark
    one.context.close()


def test_no_motion_for_who_wants_none(browser: Browser, built: Path) -> None:
    moves = "getComputedStyle(document.querySelector('#clear')).transitionDuration"
    for wish, seconds in (("reduce", "0s"), ("no-preference", "0.12s")):
        one = Visitor(browser, as_site(built), reduced_motion=wish)
        assert one.go().evaluate(moves).split(",")[0] == seconds
        one.context.close()


def test_by_keyboard_one_skips_to_the_content_and_sees_where_one_is(visitor: Visitor) -> None:
    page = visitor.go("version.html#churn@1.2.0")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.url.endswith("#churn@1.2.0")


# The registry ----------------------------------------------------------------------------------------


def all_loaded(visitor: Visitor, path: str = "index.html") -> Any:
    page = visitor.go(path)
    until(page, "!document.getElementById('found').textContent.includes('loaded')")
    return page


def test_search_and_filters_as_one_types(visitor: Visitor) -> None:
    page = all_loaded(visitor)
    assert page.inner_text("#found") == "452 models" and len(visitor.rows()) == 50
    page.keyboard.press("/")
    page.keyboard.type("customer lea")
    assert visitor.rows() == ["churn", ""] or "churn" in visitor.rows()[0]
    assert page.inner_text("#found") == "1 model"
    page.fill("#q", "nothing like it")
    assert "No model fits" in page.inner_text("#models")
    page.click("#clear")
    page.select_option("#f-stage", "production")
    assert page.locator("#models tbody tr").count() == 1
    page.select_option("#f-stage", " none")
    assert page.inner_text("#found") == "451 models"
    page.select_option("#f-stage", "")
    page.select_option("#f-type", "xgboost")
    assert page.inner_text("#models tbody th a") == "forecast"
    page.select_option("#f-type", "")
    page.select_option("#f-owner", "@risk")
    assert page.inner_text("#models tbody th a") == "churn"
    page.select_option("#f-owner", "")
    page.select_option("#f-tag", "team: t3")
    assert page.inner_text("#found") == "64 models"


def test_the_address_keeps_the_filters(visitor: Visitor) -> None:
    page = all_loaded(visitor)
    page.fill("#q", "small")
    page.select_option("#f-tag", "team: t1")
    page.click("th[data-sort=latest] button")
    page.click("#later")
    kept, shown = page.url, visitor.rows()
    all_loaded(visitor, kept.rpartition("/")[2])
    assert (page.input_value("#q"), page.input_value("#f-tag")) == ("small", "team: t1")
    assert visitor.rows() == shown and len(shown) == 15
    assert "Page 2 of 2" in page.inner_text("#pager")


def test_columns_sort_by_what_they_mean(visitor: Visitor) -> None:
    page = all_loaded(visitor)
    head = page.locator("th[data-sort=latest]")
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("th[data-sort=name]").get_attribute("aria-sort") is None
    page.fill("#q", "small-0")
    assert page.locator("#models tbody tr td:nth-child(2)").first.inner_text() == "1.0.0"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    # By precedence: 1.99.0 is above 1.9.0.
    assert page.locator("#models tbody tr td:nth-child(2)").first.inner_text() == "1.99.0"
    page.fill("#q", "")
    page.click("th[data-sort='stage:production'] button")
    assert page.inner_text("#models tbody th a >> nth=0") == "churn"  # those without come last, both ways


def test_every_keystroke_is_answered_at_once(visitor: Visitor) -> None:
    page = all_loaded(visitor)
    took = page.evaluate(
        """() => { const input = document.getElementById('q'); const times = [];
        for (const text of ['s', 'sm', 'sma', 'small-1', 'x', '']) {
          const start = performance.now(); input.value = text; input.dispatchEvent(new Event('input'));
          times.push(performance.now() - start); }
        return times.sort((a, b) => a - b)[3]; }"""
    )
    assert took < 100  # milliseconds, the median of six


# Models, versions, comparison ------------------------------------------------------------------------


def test_a_models_page_draws_what_its_tables_say(visitor: Visitor) -> None:
    page = visitor.go("models/churn/index.html")
    assert page.locator("#timeline rect.stay").count() == 3
    assert page.locator("#timeline rect.open").count() == 2
    assert page.locator("#plots svg").count() == 3
    assert "accuracy of 3 versions, from 0.9 to 0.95; higher is better" in str(
        page.locator("#plots svg >> nth=0").get_attribute("aria-label")
    )
    assert page.locator("#plots circle.hot").count() == 3
    assert page.locator("h2 .note").inner_text().strip() == "in production"
    assert page.locator("#plots svg >> nth=2 >> .tick").all_text_contents()[:2] == ["1.2e11", "3.61e11"]
    page.click("summary >> nth=0")
    assert page.locator("details[open] tbody tr").count() == 3
    assert page.locator(".card h3").inner_text() == "About"
    assert page.locator(".card a").get_attribute("href") == "https://example.org"
    assert page.locator("details[open]").count() == 1
    page = visitor.go("models/forecast/index.html")  # one version draws no line: the table is open
    assert page.locator("#plots, h2 .note").count() == 0 and page.locator("details[open]").count() == 1


def test_a_long_table_of_versions_shows_the_rest_when_asked(visitor: Visitor) -> None:
    page = visitor.go("models/small-201/index.html")
    rows = page.locator("#versions tbody tr")
    assert (rows.count(), rows.filter(visible=True).count()) == (41, 20)
    page.click("text=Show all 41 versions")
    assert rows.filter(visible=True).count() == 41 and page.locator(".more button").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "2.19.0"


def test_versions_are_picked_and_compared(visitor: Visitor) -> None:
    page = visitor.go("models/churn/index.html")
    assert page.locator("#compare").is_disabled()
    page.check("input[value='1.2.0']")
    page.check("input[value='1.0.0']")
    page.click("#compare")
    page.wait_for_selector("#comparison table")
    assert page.url.endswith("compare.html#churn@1.0.0,churn@1.2.0")
    said = page.locator(".verdict").inner_text()
    assert said == "churn@1.2.0 is better than churn@1.0.0 by accuracy, and worse by loss."
    best = [text.split(" ")[0] for text in page.locator("#comparison td.best").all_inner_texts()]
    assert best == ["0.95", "0.4"]
    assert page.locator("#comparison svg .bar.best").count() == 2
    page.fill("#model", "forecast")
    page.locator("#model").blur()
    page.wait_for_selector("#put:not([disabled])")
    page.click("#put")
    until(page, "location.hash.endsWith(',forecast@2.0.0')")
    page.click("button[aria-label='Remove churn@1.0.0']")
    until(page, "location.hash === '#churn@1.2.0,forecast@2.0.0'")
    page.go_back()
    until(page, "document.querySelectorAll('#chosen li').length === 3")


def test_a_version_tells_all_there_is(visitor: Visitor) -> None:
    page = visitor.go("version.html#churn@1.2.0")
    text = page.locator("main").inner_text()
    for said in (
        "75.2 KiB (77,000 bytes)",
        "md5:0123456789abcdef",
        "data only",
        "float",
        "[1.5, 2]",
        "customers",
        "MIT",
        "numpy>=1.24",
        "curl -s localhost:8000",
    ):
        assert said in text, said
    assert page.locator("svg .node").count() >= 5
    page.click("text=1.1.0 >> nth=0")
    until(page, "document.querySelector('h1').textContent === 'churn 1.1.0'")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    assert page.title() == "churn 1.1.0 - shelf"


@pytest.mark.parametrize(
    ("reference", "version"), [("churn", "1.2.0"), ("churn@latest", "1.2.0"), ("churn#production", "1.0.0")]
)
def test_a_version_is_named_as_everywhere(visitor: Visitor, reference: str, version: str) -> None:
    assert visitor.go(f"version.html#{reference}").inner_text("h1") == f"churn {version}"


@pytest.mark.parametrize(
    "reference",
    ["", "churn@9.9.9", "churn#nowhere", "%F0%9F", "<img src=x>", "../../etc@1.0.0", "churn@1.0.0,x"],
)
def test_a_version_that_is_not_there_is_told(visitor: Visitor, reference: str) -> None:
    assert visitor.go(f"version.html#{reference}").inner_text("h1") == "No such version"


def test_snippets_are_copied(visitor: Visitor) -> None:
    page = visitor.go("models/churn/index.html")
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(".snippet >> nth=0 >> .copy")
    until(page, "document.querySelector('.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()").startswith("import gitreg")


# Other people's words --------------------------------------------------------------------------------


def test_what_was_written_to_do_harm_is_shown_as_what_it_is(browser: Browser, tmp_path: Path) -> None:
    shelf = evil_shelf(tmp_path / "shelf")
    site.build(Catalog(shelf.root), tmp_path / "out")
    one = Visitor(browser, as_site(tmp_path / "out"))
    versions = ["constructor@1.0.0", "prototype@1.0.0"]
    pages = ["index.html", *(f"models/{name}/index.html" for name in ("constructor", "prototype"))]
    for path in [*pages, *(f"version.html#{v}" for v in versions), f"compare.html#{','.join(versions)}"]:
        page = one.go(path)
        page.wait_for_timeout(50)
        assert page.locator("main img, main script, main iframe").count() == 0
        assert EVIL[:30] in page.locator("main").inner_text(), path
        assert one.fits(), path
    page = one.go("version.html#constructor@1.0.0")
    assert page.locator("h1 bdi").inner_text() == "constructor"
    text = page.locator("main").inner_text()
    assert all(said in text for said in ("NaN", "\u221e", "-\u221e", "__proto__", "\\u202e", "\\x1b"))
    assert (
        page.locator("bdi", has_text="\u05e9\u05dc\u05d5\u05dd").count() or "\u05e9\u05dc\u05d5\u05dd" in text
    )
    assert page.evaluate("({}).x === undefined && Object.keys(Object.prototype).length === 0")
    one.context.close()
    assert (one.complaints, one.strangers) == ([], [])


# Live ------------------------------------------------------------------------------------------------


def test_register_and_promote_from_the_page(browser: Browser, workshop: Workshop) -> None:
    stages = {"staging": {}, "production": {"from": ["staging"]}, "archived": {}}
    (workshop.root / "registry.yaml").write_text(json.dumps({"registry": "workshop", "stages": stages}))
    workshop.commit("policy")
    with serving(workshop.root) as server:
        one = Visitor(browser, server.page)
        page = one.go(f"#token={server.token}")
        assert server.token not in page.url
        page.click("#drafts button")
        page.click("text=Show what would happen")
        page.wait_for_selector("dialog pre")
        assert run("git", "tag", cwd=workshop.root).stdout == ""
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.click("dialog button.main")
        page.wait_for_selector("text=Done.")
        assert run("git", "tag", cwd=workshop.root).stdout == "adder@v1.0.0\n"
        page.keyboard.press("Escape")
        page.wait_for_selector("#models")
        page.click("#models tbody td a")
        page.wait_for_selector("#actions button")
        page.click("#actions button.main")
        page.select_option("#d-stage", "production")
        page.click("text=Show what would happen")
        page.wait_for_selector("dialog .gates")
        assert (
            page.locator("dialog .gates .refused").inner_text().startswith("from: 1.0.0 was never in staging")
        )
        assert page.locator("dialog button.main").is_disabled()
        page.click("text=Back")
        page.select_option("#d-stage", "staging")
        page.fill("#d-note", "<b>Because</b>")
        page.click("text=Show what would happen")
        page.wait_for_selector("dialog pre .added")
        assert page.locator("dialog pre .added").inner_text().strip() == "+adder: 1.0.0"
        assert "<b>Because</b>" in page.locator("dialog").inner_text()
        page.click("dialog button.main")
        page.wait_for_selector("text=Done.")
        one.context.close()
        assert (one.complaints, one.strangers) == ([], [])
    assert "promote/adder-1.0.0-staging" in run("git", "branch", cwd=workshop.root).stdout


def test_without_the_token_the_page_only_shows(browser: Browser, workshop: Workshop) -> None:
    assert workshop.gitreg("apply").returncode == 0
    with serving(workshop.root) as server:
        one = Visitor(browser, server.page)
        page = one.go("version.html#adder@1.0.0")
        page.wait_for_timeout(300)
        assert page.locator("#actions button").count() == 0
        one.context.close()
        assert one.complaints == []


def test_the_page_follows_the_repository(browser: Browser, workshop: Workshop) -> None:
    with serving(workshop.root) as server:
        one = Visitor(browser, server.page)
        page = one.go()
        until(page, "performance.getEntriesByType('resource').some((one) => one.name.endsWith('api/stamp'))")
        assert workshop.gitreg("apply").returncode == 0
        page.wait_for_selector("#models tbody a")
        one.context.close()
        assert one.complaints == []


def test_another_site_in_the_same_browser_gets_nothing(
    browser: Browser, workshop: Workshop, hosted: str
) -> None:
    assert workshop.gitreg("apply").returncode == 0
    with serving(workshop.root) as server:
        one = Visitor(browser, hosted)  # another port is another origin
        page = one.context.new_page()
        page.goto(hosted.rpartition("/")[0])
        tried = page.evaluate(
            """async ([site, token]) => {
              const tries = {
                read: () => fetch(site + 'api/stamp').then((a) => a.text()),
                order: () => fetch(site + 'api/do', { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Gitreg-Token': token }, body: '{}' }),
                simple: () => fetch(site + 'api/do', { method: 'POST', mode: 'no-cors', body: '{}' }).then((a) => a.text()).then((t) => t || Promise.reject()),
                script: () => new Promise((done, failed) => { window.gitregSite = { rows: done }; const tag = document.createElement('script');
                  tag.src = site + 'data/models-0.js'; tag.onerror = failed; tag.onload = failed; document.head.append(tag); }),
              };
              const got = [];
              for (const [name, attempt] of Object.entries(tries)) await attempt().then(() => got.push(name), () => null);
              const frame = document.createElement('iframe'); frame.src = site; document.body.append(frame);
              await new Promise((done) => { frame.onload = done; setTimeout(done, 2000); });
              try { if (frame.contentDocument.querySelector('#main')) got.push('frame'); } catch (error) { /* refused */ }
              return got; }""",
            [server.page, server.token],
        )
        assert tried == []
        one.context.close()


def test_a_name_that_is_made_to_point_here_gets_nothing(browser: Browser, workshop: Workshop) -> None:
    with serving(workshop.root) as server:
        rule = "--host-resolver-rules=MAP evil.example 127.0.0.1"
        one = browser.browser_type.launch(executable_path=CHROMIUM, args=[rule, *SANDBOX])
        answer = one.new_page().goto(f"http://evil.example:{server.port}/")
        assert answer and answer.status == 421
        one.close()
