"""`docs/configuration.md` names every key that the configuration reads, and none that it does not.

The keys are read from `src/config/raw.rs`, where each section is a struct and nothing else is in it.
"""

import re

from world import ROOT

PAGE = ROOT / "docs/configuration.md"
# The tables that a field of these types opens; every other type is a value.
SECTION = re.compile(r"^(?:Option<|Vec<|Box<)*([A-Z]\w+)>*$")
STORAGES = {"S3": "s3", "Gcs": "gcs", "Azure": "azure", "Databricks": "databricks", "Redis": "redis", "Local": "local"}
ROOTS = {"server": "Server", "auth": "Auth", "access": "Access", "cache": "Cache", "delivery": "DeliverySection", "log": "Log",
         "telemetry": "Telemetry"}


def problems(_options) -> list[str]:
    if not PAGE.exists():
        return [f"there is no {PAGE.name}"]
    (read, accepted), named = keys_read(), keys_named(PAGE.read_text())
    missing = [f"{PAGE.name} says nothing of {key}" for key in sorted(read - named)]
    return missing + [f"{PAGE.name} names {key}, which nothing reads" for key in sorted(named - read - accepted)]


def keys_read() -> tuple[set[str], set[str]]:
    """Those that are read; and those that are taken and not used yet, which a field's underscore says."""
    text = (ROOT / "src/config/raw.rs").read_text()
    structs, unused = {}, set()
    for name, body in re.findall(r"^pub struct (\w+) \{\n(.*?)^\}", text, re.S | re.M):
        fields, renamed, at = {}, None, {v: k for k, v in ROOTS.items()}.get(name, name.lower())
        for line in body.splitlines():
            if rename := re.search(r'serde\(rename = "([^"]+)"', line):
                renamed = rename[1]
            elif written := re.match(r"\s+(?:pub )?(\w+): (.+),$", line):
                if written[1].startswith("_"):
                    unused.add(renamed or written[1])
                else:
                    fields[renamed or written[1]] = written[2]
                renamed = None
        structs[name] = fields
    keys = set()
    for section in structs.pop("Root"):
        if section != "storage":
            keys |= below(section, ROOTS.get(section, section.capitalize()), structs)
    common = re.search(r"COMMON_KEYS.*?\[(.*?)\];", text, re.S)[1]
    keys |= {f"storage.{key}" for key in re.findall(r'"(\w+)"', common)}
    for struct, kind in STORAGES.items():
        keys |= {f"storage.{kind}.{key}" for key in structs[struct]}
    # Another spelling of `access.label_studio`.
    keys = {key for key in keys if not key.startswith("access.label-studio")}
    return keys, {f"cache.disk.{key}" for key in unused}


def below(at: str, struct: str, structs: dict) -> set[str]:
    keys = set()
    for key, kind in structs[struct].items():
        section = SECTION.match(kind.replace("Option<Box<", "Option<").replace(">>", ">"))
        if section and section[1] in structs:
            keys |= below(f"{at}.{key}", section[1], structs)
        else:
            keys.add(f"{at}.{key}")
    return keys


def keys_named(text: str) -> set[str]:
    """The first cell of each row, below a heading that says the section: "## `[server]`", "### `[[storage]]`, kind `s3`"."""
    at, found = None, set()
    for line in text.splitlines():
        if heading := re.match(r"^#+ .*?`\[+([\w.]+)\]+`(?:, kind `(\w+)`)?", line):
            at = ".".join(part for part in heading.groups() if part)
        elif line.startswith("#"):
            at = None
        elif at and (row := re.match(r"^\| ((?:`\w+`(?:, )?)+) \|", line)):
            found |= {f"{at}.{key}" for key in re.findall(r"`(\w+)`", row[1])}
    return found
