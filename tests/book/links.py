"""Every relative link of the pages leads to a file, and to a heading where it names one."""

import re

from world import IN_A_CLONE, ROOT

LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def problems(_options) -> list[str]:
    found = []
    for page in [*ROOT.glob("*.md"), *(ROOT / page for page in IN_A_CLONE), *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
        for target, heading in LINK.findall(text):
            path = (page.parent / target).resolve() if target else page
            if not path.exists():
                found.append(f"{page.relative_to(ROOT)}: there is no {target}")
            elif heading and path.suffix == ".md" and heading not in anchors(path.read_text()):
                found.append(f"{page.relative_to(ROOT)}: {target or page.name} has no heading #{heading}")
    return found


def anchors(text: str) -> set[str]:
    """As the common hosts make them: lower case, no punctuation, spaces to hyphens."""
    titles = re.findall(r"^#+\s+(.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
