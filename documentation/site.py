"""Hooks of MkDocs: READMEs become pages, lists of pages are filled in, links out of the site lead to the code host.

A page of the repository links by relative paths, as a code host reads them. Here each such link becomes one to the page
of the site that the file is, or else to the file at the code host.
"""

import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
READMES: Final = (
    "CONTRIBUTING.md",
    "api/README.md",
    "client/README.md",
    "client/typescript/README.md",
    "charts/stemyard/README.md",
)
"""Pages of the site that are not in `docs/`, by their path in the repository, which is their path in the site too."""
_FENCE: Final = re.compile(r"(?ms)^ *```.*?^ *```$")
_ROW: Final = re.compile(r"(?m)^\|.*\|$")
_CODE: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace `folder/*` in the navigation by the pages of the folder, in the order of their names."""
    config.nav = _filled(config.nav)
    return config


def _filled(nav: Any) -> Any:  # noqa: ANN401 - lists, mappings and names, as in the file
    if isinstance(nav, list):
        return [_filled(entry) for entry in nav]
    if isinstance(nav, dict):
        return {title: _filled(entry) for title, entry in nav.items()}
    if nav.endswith("/*"):
        folder = ROOT / "docs" / nav.removesuffix("/*")
        return [f"{folder.name}/{page.name}" for page in sorted(folder.glob("*.md"))]
    return nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    for path in READMES:
        files.append(File.generated(config, path, content=(ROOT / path).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page with its links to files of the repository rewritten; those to nothing stay, and are reported.

    A bar in the code of a table is escaped for code hosts, and must not be for Python-Markdown.
    """
    source = page.file.src_uri
    folder = PurePosixPath(source if source in READMES else f"docs/{source}").parent

    def rewritten(found: re.Match[str]) -> str:
        return _target(found[1], folder, page, config, files)

    def outside_of_code(text: str) -> str:
        return _LINK.sub(rewritten, _ROW.sub(lambda row: _CODE.sub(_without_escapes, row[0]), text))

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [outside_of_code(markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, outside_of_code(markdown[end:])])


def _without_escapes(code: re.Match[str]) -> str:
    return code[0].replace("\\|", "|")


def _target(link: str, folder: PurePosixPath, page: Page, config: MkDocsConfig, files: Files) -> str:
    path, mark, anchor = link.partition("#")
    if not path or "://" in link:
        return link
    file = posixpath.normpath(folder / path)
    shown = file if file in READMES else file.removeprefix("docs/")
    if (shown in READMES or file.startswith("docs/")) and files.get_file_from_path(shown) is not None:
        return posixpath.relpath(shown, PurePosixPath(page.file.src_uri).parent) + mark + anchor
    if not (ROOT / file).exists():
        return link
    kind = "tree" if (ROOT / file).is_dir() else "blob"
    return f"{config.extra['code_host']}/{kind}/main/{file}{mark}{anchor}"
