"""The README and the pages of docs/: what they point at is there."""

import re

import pytest

from configs.common import get_common_config
from tests.tiny_job import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# A user's own method in docs/extending.md, and what stands for any name.
MADE_UP = ("Pixels", "FIELD", "NAME")


def text_of(page):
    """The page without its tables of results, whose commands are of the code of their time."""
    return re.sub(r"<!-- results:.*?<!-- end -->", "", page.read_text(), flags=re.DOTALL)


def anchors(page):
    """The names that GitHub gives the page's headings."""
    code_removed = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", code_removed, flags=re.MULTILINE)
    names = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name}-{count}" if count else name for name, count in zip(names, earlier, strict=True)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", text_of(page))
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_configs_and_studies_are_there(page):
    text = text_of(page)
    modules = [
        f"{module.replace('.', '/')}.py" for module in re.findall(r"python -m ((?:experiments|tests)\.\w+)", text)
    ]
    for path in modules + re.findall(r"\b((?:configs|studies|tests|ssdkd_jax)/[\w/]+\.py)\b", text):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fields_are_those_of_a_config(page):
    config = get_common_config()
    for field in re.findall(r"--config\.([\w.]*\w)", text_of(page)):
        section, *names = field.split(".")
        if section not in MADE_UP:
            assert section in config, field
            assert not names or names[0] in MADE_UP or names[0] in config[section], field
