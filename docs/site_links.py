"""Check a built site: links lead somewhere, nothing is from the network, no name is missing.

python docs/site_links.py site
"""

import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from public_names import all_names


class Page(HTMLParser):
    """What one page names (ids) and where it points to: (attribute, address)."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, and links by the tag that has them."""
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif name in ("href", "src") and value is not None:
                self.links.append((tag, value))


def pages_of(site: Path) -> dict[Path, Page]:
    """Every page of a site."""
    return {path.resolve(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))}


def faults(site: Path, names: Iterable[str]) -> Iterator[str]:
    """What is wrong with a site that should have an entry for each of these names."""
    pages = pages_of(site)
    for path, page in pages.items():
        for tag, link in page.links:
            wrong = _fault(path, tag, link, pages)
            if wrong:
                yield f"{path.relative_to(site.resolve())}: {link} {wrong}"
    ids = {name for page in pages.values() for name in page.ids}
    yield from (f"{name} has no page" for name in names if name not in ids)


def _fault(path: Path, tag: str, link: str, pages: dict[Path, Page]) -> str:
    """What is wrong with a link on the page at a path; nothing: ""."""
    parts = urlsplit(link)
    if parts.scheme in ("data", "mailto"):
        return ""
    if parts.scheme or parts.netloc:
        return "" if tag == "a" else "comes from the network"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "is not there"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].ids:
        return "has no such anchor"
    return ""


def main(site: str) -> int:
    """Print the faults of a site; 1 if there are any."""
    found = list(faults(Path(site), [name.full for name in all_names()]))
    print("\n".join(found) or f"{site}: every link leads somewhere, every public name has a page")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
