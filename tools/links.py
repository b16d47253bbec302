"""Every link and picture of a built site leads somewhere: `python tools/links.py _docs`.

Prints what does not. Exit code 1 when a file is missing; a page that lacks the place a link names
is printed as such, and no more: nbdev links words in backticks that are names of the library, also
where their page has no entry of that name.
"""

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

REF, ID = re.compile(r'(?:href|src)="([^"]+)"'), re.compile(r'\b(?:id|name)="([^"]+)"')


def broken(root):
    "(page, link, what) of each local link whose file, or whose place in the page, is not there"
    root, ids = Path(root).resolve(), {}

    def anchors(p):
        if p not in ids:
            ids[p] = set(ID.findall(p.read_text("utf8", errors="replace")))
        return ids[p]

    for page in sorted(root.rglob("*.html")):
        text = re.sub(
            r"(?s)<(script|style|pre|code)\b.*?</\1>", "", page.read_text("utf8", errors="replace")
        )
        for link in dict.fromkeys(REF.findall(text)):
            u = urlsplit(link.replace("&amp;", "&"))
            if u.scheme or u.netloc:
                continue
            to = (
                page
                if not u.path
                else root / u.path.lstrip("/")
                if u.path.startswith("/")
                else page.parent / unquote(u.path)
            )
            if to.is_dir():
                to = to / "index.html"
            at = page.relative_to(root).as_posix()
            if not to.exists():
                yield at, link, "file"
            elif (
                u.fragment
                and to.suffix == ".html"
                and unquote(u.fragment) not in anchors(to.resolve())
            ):
                yield at, link, "place"


if __name__ == "__main__":
    bad = list(broken(sys.argv[1]))
    for page, link, what in bad:
        print(f"{page}: no such {what}: {link}")
    sys.exit(any(what == "file" for *_, what in bad))
