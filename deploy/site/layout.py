"""Where each page of the site comes from, and its links from where it then stands."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from deploy.site import reference

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
# Pages that stand elsewhere in the repository: name on the site -> file.
ELSEWHERE = {
    "index.md": ROOT / "README.md",
    "zh.md": ROOT / "README.zh-CN.md",
    "architecture.md": ROOT / "ARCHITECTURE.md",
    "changes.md": ROOT / "CHANGELOG.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
}
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def lay_out(folder: Path) -> None:
    """Put the sources and mkdocs.yml into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = folder / "docs"
    pages.mkdir(parents=True)
    placed = {path: path.relative_to(DOCS) for path in sorted(DOCS.rglob("*")) if path.is_file()}
    placed |= {path: Path(name) for name, path in ELSEWHERE.items() if path.exists()}
    for source, name in placed.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            (pages / name).write_text(relinked(source.read_text(), source, name, placed))
        else:
            shutil.copyfile(source, pages / name)
    for page_name, text in reference.pages().items():
        (pages / page_name).write_text(text)
    (pages / "assets").mkdir()
    shutil.copyfile(HERE / "frame-worker.js", pages / "assets" / "iframe-worker.js")
    settings = yaml.safe_load((HERE / "mkdocs.yaml").read_text())
    settings["nav"] = with_all(settings["nav"], pages)
    (folder / "mkdocs.yml").write_text(
        yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    )


def relinked(text: str, source: Path, name: Path, placed: dict[Path, Path]) -> str:
    """The page with its links as they are from its place on the site.

    A link to a file that is not on the site becomes the file's name.
    """

    def target_of(link: str) -> tuple[str | None, str]:
        path, _, anchor = link.partition("#")
        if "://" in link or not path or path.startswith("mailto:"):
            return link, ""
        aimed = Path(os.path.normpath(source.parent / path))
        if not aimed.exists():
            raise FileNotFoundError(
                f"{source.relative_to(ROOT)}: a link to {path}, which is not there"
            )
        if aimed not in placed:
            return None, str(aimed.relative_to(ROOT))
        there = os.path.relpath(placed[aimed], name.parent)
        return (f"{there}#{anchor}" if anchor else there), ""

    def link(match: re.Match[str]) -> str:
        target, missing = target_of(match[2])
        if target is not None:
            return f"[{match[1]}]({target})"
        return match[1] if missing in match[1] else f"{match[1]} (`{missing}`)"

    def image(match: re.Match[str]) -> str:
        target, _ = target_of(match[2])
        return f"![{match[1]}]({target})"

    return _LINK.sub(link, _IMAGE.sub(image, text))


def with_all(nav: list[dict[str, Any]], pages: Path) -> list[dict[str, Any]]:
    """The navigation, with the pages that it does not name at the end of How-to."""
    named = set(re.findall(r"[\w./-]+\.md", str(nav)))
    there = {str(path.relative_to(pages)) for path in pages.rglob("*.md")}
    rest = sorted(there - named)
    alerts = [name for name in rest if name.startswith("runbooks/")]
    for section in nav:
        if "How-to" in section:
            section["How-to"] += [name for name in rest if name not in alerts]
            section["How-to"].append({"When an alert fires": alerts})
    return nav
