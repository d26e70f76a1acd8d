"""What `make docs` builds from: every page has a place, and every link leads to a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from deploy.site import layout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("site") / "laid"
    layout.lay_out(path)
    return path


def test_every_page_is_in_the_navigation(folder):
    nav = yaml.safe_load((folder / "mkdocs.yml").read_text())["nav"]
    named = re.findall(r"[\w./-]+\.md", str(nav))
    pages = {str(path.relative_to(folder / "docs")) for path in folder.rglob("*.md")}
    assert sorted(named) == sorted(pages)


def test_links_between_pages_lead_to_pages_of_the_site(folder):
    for page in folder.rglob("*.md"):
        for link in re.findall(r"(?<!`)\]\(([^)\s#]+)(?:#[^)\s]*)?\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), (page.name, link)


def test_the_pages_made_from_the_code_say_what_there_is(folder):
    def page(name):
        return (folder / "docs" / name).read_text()

    for heading in ("## worker run", "## worker dead requeue", "## loadgen plan"):
        assert heading in page("commands.md")
    assert "| `worker_tasks_total` | counter | outcome, type |" in page("metrics.md")
    assert "### handler" in page("api.md") and "### Retry" in page("api.md")
    assert "## exchange.lua" in page("scripts.md")


def test_a_link_to_a_file_that_is_not_there_is_refused():
    page = layout.DOCS / "scaling.md"
    with pytest.raises(FileNotFoundError, match=r"docs/scaling\.md: a link to nothing\.md"):
        layout.relinked("See [this](nothing.md).", page, page.relative_to(layout.DOCS), {})


def test_a_link_to_a_file_outside_of_the_site_becomes_its_name():
    page = layout.DOCS / "django.md"
    text = layout.relinked("[the example](../examples/django)", page, Path(page.name), {})
    assert text == "the example (`examples/django`)"
