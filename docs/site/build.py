"""Builds the documentation site: ``python docs/site/build.py FOLDER``; ``make docs`` calls it.

Every page that git would show, and every file that a page links to, is copied to FOLDER/pages under its own path,
so the same relative links work on GitHub and in the site. MkDocs makes FOLDER/html of them. Then all that was made is
checked once more, whatever the site generator thinks of it: links, anchors, references, loaded files, public names.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).parent
ROOT = SITE.parents[1]
WORKER = "https://unpkg.com/iframe-worker/shim"
PAGES = ("README.md", "README.zh-CN.md", "CHANGELOG.md", "benchmarks/README.md", "docs/**/*.md")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?[^)]*\)")
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
UNRESOLVED = re.compile(r"\]\[[\w.]+\]")
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    stop_at(copy_pages(folder / "pages"))
    shutil.copyfile(SITE / "site.css", folder / "pages" / "site.css")
    config = folder / "mkdocs.yml"
    config.write_text(read_config(), encoding="utf-8")
    stop_at([*check_navigation(config.read_text(encoding="utf-8"))])
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(config)]
    if subprocess.run(command, check=False).returncode:
        sys.exit("The site generator refused the pages; the reason stands above.")
    load_nothing_from_elsewhere(folder / "html")
    pages = [Page(file) for file in sorted((folder / "html").rglob("*.html"))]
    stop_at([*check_pages(pages, folder / "html"), *check_names(pages)])
    print(f"{len(pages)} pages: {folder / 'html' / 'index.html'}")


def copy_pages(into: Path) -> list[str]:
    """The pages and what they link to. Gives the links that lead nowhere."""
    problems = []
    copied = {file for pattern in PAGES for file in ROOT.glob(pattern)}
    for page in sorted(copied):
        for target in links_of(page):
            file = (page.parent / target).resolve()
            if not file.is_file():
                problems.append(f"{page.relative_to(ROOT)}: {target} is no file of the repository")
            elif file not in copied:
                copied.add(file)
    for file in copied:
        copy = into / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return problems


def links_of(page: Path) -> Iterator[str]:
    """The files that a page links to by a relative path."""
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        parts = urlsplit(link)
        if not parts.scheme and not parts.netloc and parts.path:
            yield unquote(parts.path)


def read_config() -> str:
    template = (SITE / "mkdocs.yml").read_text(encoding="utf-8")
    decisions = sorted(file.relative_to(ROOT).as_posix() for file in ROOT.glob("docs/decisions/0*.md"))
    nav = "\n      - ".join(decisions)
    return template.replace("@ROOT@", ROOT.as_posix()).replace('"@DECISIONS@"', nav)


def check_navigation(config: str) -> Iterator[str]:
    """Pages that the menu of the site lacks, and pages of docs/ that its index does not link to."""
    index = ROOT / "docs" / "index.md"
    indexed = {(index.parent / target).resolve() for target in links_of(index)} | {index}
    for page in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        name = page.relative_to(ROOT).as_posix()
        if f" {name}\n" not in config:
            yield f"{name} is missing from nav: in docs/site/mkdocs.yml"
        if page.parent == index.parent and page not in indexed:
            yield f"{name} is missing from docs/index.md"


def load_nothing_from_elsewhere(html: Path) -> None:
    """The one script that the generator would load from another server comes with the site instead."""
    shutil.copyfile(SITE / "iframe-worker.js", html / "assets" / "iframe-worker.js")
    for page in html.rglob("*.html"):
        up = "../" * (len(page.relative_to(html).parts) - 1)
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace(WORKER, f"{up}assets/iframe-worker.js"), encoding="utf-8")


class Page(HTMLParser):
    """What one page of the site links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.places: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self._inside: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.places.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADING and LOADING[tag] in values and values.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(values[LOADING[tag]])
        if tag in ("code", "pre", "script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text.append(data)


def check_pages(pages: list[Page], top: Path) -> Iterator[str]:
    """Links and anchors that lead nowhere, names in brackets that found no target, files from other servers."""
    places = {page.file: page.places for page in pages}
    for page in pages:
        name = page.file.relative_to(top)
        for link in page.loads:
            if urlsplit(link).netloc:
                yield f"{name}: it loads {link} from another server"
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.file.name == "404.html":
                continue
            target = (page.file.parent / unquote(parts.path)).resolve() if parts.path else page.file
            anchor = unquote(parts.fragment)
            if not target.is_file():
                yield f"{name}: {link} leads to no file"
            elif anchor and target in places and anchor not in places[target]:
                yield f"{name}: {link} leads to no heading"
        for match in UNRESOLVED.finditer("".join(page.text)):
            yield f"{name}: the reference {match[0]} was not resolved"


def check_names(pages: list[Page]) -> Iterator[str]:
    """Public names that the reference lacks. Public is what is imported ``as`` itself."""
    places = set().union(*(page.places for page in pages))
    for module in ("chat_session", "chat_session.testing"):
        source = ROOT.joinpath("src", *module.split("."), "__init__.py").read_text(encoding="utf-8")
        for origin, name in re.findall(r"^from (\S+) import (\w+) as \2$", source, re.MULTILINE):
            shown = name == "blocking" or not places.isdisjoint((f"{module}.{name}", f"{origin}.{name}"))
            if not shown:
                yield f"docs/reference: {module}.{name} is public and not in the reference"


def stop_at(problems: list[str]) -> None:
    if problems:
        sys.exit("The documentation is not in order:\n  " + "\n  ".join(problems))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
