"""The documentation names what exists."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[1] / 'docs'
SITE = yaml.safe_load((DOCS.parent / 'mkdocs.yml').read_text(encoding='utf-8'))


def pages(entry) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages(part)]


def test_each_page_is_on_the_site_once():
    assert sorted(pages(SITE['nav'])) == sorted(path.name for path in DOCS.glob('*.md'))


@pytest.mark.parametrize('name', re.findall(r'^::: (\S+)', (DOCS / 'api.md').read_text(), re.M))
def test_what_the_page_of_the_library_lists_can_be_imported_and_has_a_docstring(name):
    module, _, attribute = name.rpartition('.')
    assert getattr(import_module(module), attribute).__doc__


@pytest.mark.parametrize('page', ['README.md', *(f'docs/{p.name}' for p in DOCS.glob('*.md'))])
def test_every_link_of_a_page_leads_to_a_file(page):
    path = DOCS.parent / page
    links = re.findall(r'\]\(([^)#\s]+)', path.read_text(encoding='utf-8'))
    missing = [link for link in links if '://' not in link and not (path.parent / link).exists()]
    assert not missing
