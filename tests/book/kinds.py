"""How each kind of block is run or checked. A checker gives back what is wrong, or nothing."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

from blocks import Block
from world import ROOT, World

# What a [[storage]] of each kind cannot do without, for fragments that leave it out.
STORAGES = {
    "s3": {"bucket": "book"}, "gcs": {"bucket": "book", "anonymous": True},
    "azure": {"account": "book", "container": "book", "account_key": "Ym9vaw=="},
    "databricks": {"host": "https://adb-1.azuredatabricks.net", "volume": "main/default/book", "token": "book"},
    "redis": {"host": "127.0.0.1"}, "local": {"root": "."},
}
# Either of these says who asks: a fragment that has one is given no other.
CREDENTIALS = {"anonymous": {"credentials"}, "account_key": {"sas_token", "tenant_id", "client_id", "federated_token_file"},
               "token": {"client_id", "client_secret"}, "host": {"url"}}
JWT = {"issuer": "https://book.example.com", "audience": "lockgate"}
SECRET = "b00cb00cb00cb00cb00cb00cb00cb00cb00cb00cb00cb00c"
SHOWN = {"text", "http"}  # what somebody would see: nothing to run


def check(block: Block, world: World) -> str | None:
    """Runs or checks a block."""
    if block.kind in SHOWN:
        return None
    if block.kind not in KINDS:
        known = ", ".join(sorted([*KINDS.keys() - {"browser"}, *SHOWN]))
        kind = block.kind or "without a kind"
        return (f"a block {kind!r}: the book knows how to check {known}. What is only shown is `text`; for what cannot "
                f"run here put `<!-- not run: REASON -->` on the line above the block")
    if (within := block.said.get("within")) and block.kind != "toml":
        return f"`within: {within}` is for toml"
    if "file" in block.said:
        world.write(block.said["file"], block.text)
    return KINDS[block.kind](block, world)


def sh(block: Block, world: World) -> str | None:
    status, said = world.sh(block.text)
    log = world.own / "lockgate.log"
    words = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-8:]) if log.exists() else ""
    return None if status == 0 else f"ended with {status}:\n{said[-3000:]}\nand Lockgate said:\n{words}"


def python(block: Block, world: World) -> str | None:
    if "file" in block.said:  # a later block runs it
        compile(block.text, block.said["file"], "exec")
        return None
    status, said = world.program([world.python, "-c", world.here(block.text)])
    return None if status == 0 else f"ended with {status}:\n{said[-3000:]}"


def typescript(block: Block, world: World) -> str | None:
    """Strictly checked by the compiler, which leaves what `node` then runs."""
    name = block.said.get("file", f"block-{block.line}.ts")
    world.write(name, block.text)
    modules = world.tools / "node/node_modules"
    compiler = modules / "typescript/bin/tsc"
    if not compiler.exists():
        return "typescript is not installed: run tests/servers"
    source = (world.home / name).with_suffix(".mts")
    shutil.copy(world.home / name, source)
    status, said = world.run([
        "node", compiler, "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable",
        "--erasableSyntaxOnly", "--skipLibCheck", "--typeRoots", modules / "@types", "--types", "node", source,
    ])
    source.unlink()
    if status != 0:
        return f"the compiler says:\n{said}"
    if "file" in block.said:
        return None
    status, said = world.program(["node", (world.home / name).with_suffix(".mjs")])
    return None if status == 0 else f"ended with {status}:\n{said[-3000:]}"


def javascript(block: Block, world: World) -> str | None:
    path = world.write(f"block-{block.line}.mjs", block.text)
    status, said = world.program(["node", "--check", path] if "file" in block.said else ["node", path])
    return None if status == 0 else f"ended with {status}:\n{said[-3000:]}"


def toml(block: Block, world: World) -> str | None:
    """Read by Lockgate itself: an access list (it has projects), a configuration, or a part of one that is completed by
    what a configuration cannot do without."""
    text = world.here(block.text)
    kind = block.said.get("within", "").removeprefix("storage ").strip()
    try:
        written = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"no TOML: {error}"
    if not kind and block.page.parent.name == "stores" and not any(isinstance(value, (dict, list)) and key in SECTIONS
                                                                   for key, value in written.items()):
        kind = block.page.stem
    if kind:
        text = within(kind, written) + text
        written = tomllib.loads(text)
    directory = world.own / f"toml-{block.line}"
    directory.mkdir()
    lay_out(directory, text, world)
    if "project" in written:
        (directory / "projects.toml").write_text(text)
        storages = {name for project in written["project"] for name in project.get("storages", [])}
        text, written = "", {"storages": storages}
    environment = {name: "postgres://lockgate@127.0.0.1/platform" if "DATABASE" in name else "LOCKGATE" * 8
                   for name in re.findall(r'env\s*=\s*"([^"]+)"', block.text)}
    if block.said.get("file", "").endswith("projects.toml") or "file" not in block.said:
        configuration = completed(text, written)
        environment |= missing_keys(written)
    else:
        configuration = text + OWN_STORAGE.format("book")
    (directory / "lockgate.toml").write_text(configuration)
    if part := block.said.get("part of"):
        keys = "".join(f"{key.split('__')[-1].lower()} = {value if value[0] == '[' else json.dumps(value)}\n"
                       for key, value in missing_keys(written).items())
        world.write(part, configuration.replace("[auth.jwt]\n", f"[auth.jwt]\n{keys}"))
        world.write("projects.toml", "")
    verb = ["check"] if "storages" in written else ["setup"]
    status, said = world.run([world.lockgate, *verb, "--storage", "book"], directory, environment)
    unused = [line for line in said.splitlines() if "not used by this version" in line]
    if status != 0 or unused:
        return f"Lockgate does not take it:\n{said[-3000:]}"
    return None


OWN_STORAGE = '\n[[storage]]\nid = "{}"\nkind = "local"\nroot = "media"\n'
SECTIONS = {"server", "auth", "access", "cache", "delivery", "log", "storage", "project", "telemetry"}


def within(kind: str, written: dict) -> str:
    """The head of a [[storage]], for keys that stand alone."""
    keys = {"id": "fragment", "kind": kind} | STORAGES[kind]
    others = {key for key in keys if CREDENTIALS.get(key, set()) & written.keys()}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if key not in written and key not in others]
    return "[[storage]]\n" + "".join(lines)


def completed(text: str, written: dict) -> str:
    """With a storage of its own to ask for, and with whatever section is missing altogether."""
    more = ""
    if "jwt" not in written.get("auth", {}):
        more += "\n[auth.jwt]\n"
    if "access" not in written:
        more += '\n[access]\nfile = "projects.toml"\n'
    for name in ["book", *sorted(written.get("storages", set()) - {"book"})]:
        more += OWN_STORAGE.format(name)
    return text + more


def missing_keys(written: dict) -> dict:
    """The keys that tokens are verified with, for the environment, where the block has none."""
    jwt = written.get("auth", {}).get("jwt", {})
    keys = {key: value for key, value in JWT.items() if key not in jwt}
    if "algorithms" not in jwt:
        keys |= {"algorithms": '["HS256"]'} | ({} if "hmac_secret" in jwt else {"hmac_secret": SECRET})
    return {f"LOCKGATE__AUTH__JWT__{key.upper()}": value for key, value in keys.items()}


def lay_out(directory: Path, text: str, world: World) -> None:
    """The files that the block names: an access list with nobody in it, task files, certificates, keys."""
    (directory / "projects.toml").write_text("")
    names = set(re.findall(r'"([A-Za-z0-9_.-]+\.(?:pem|crt|key|json|jsonl))"', text))
    names |= set(re.findall(r'file\s*=\s*"([^"/]+)"', text)) - {"projects.toml"}
    for name in names:
        own = world.home / name
        (directory / name).write_bytes(own.read_bytes() if own.exists() else sample(name, world))
    for name in ["media", *re.findall(r'(?:root|path|sandbox_paths)\s*=\s*"([^"/]+)"', text)]:
        (directory / name).mkdir(exist_ok=True)
    # `check` finds fault with a storage that holds nothing.
    (directory / "media" / "a.png").write_bytes(b"")


def sample(name: str, world: World) -> bytes:
    if name.endswith(".jsonl"):
        return b""
    if name.endswith(".json"):
        return b'{"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}'
    if not name.endswith((".pem", ".crt", ".key")):
        return SECRET.encode()
    certificate, key = world.own / "tls.crt", world.own / "tls.key"
    if not certificate.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=book.example.com", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    if name == "jwt.pem":
        return subprocess.run(["openssl", "ec", "-in", key, "-pubout"], check=True, capture_output=True).stdout
    return (key if name.endswith(".key") else certificate).read_bytes()


def nginx(block: Block, world: World) -> str | None:
    """Tried by nginx itself, in the context that it is written for."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    text, directory = world.here(block.text), world.own
    if not re.search(r"^\s*(server|upstream|http|events)\b[^;]*\{", text, re.M):
        text = f"server {{ listen 127.0.0.1:{world.ports[8000]};\n{text}\n}}"
    if not re.search(r"^\s*http\s*\{", text, re.M):
        text = f"events {{}}\nhttp {{\naccess_log off;\n{text}\n}}"
    text = re.sub(r"/etc/nginx/lockgate\.conf", str(ROOT / "deploy/nginx/lockgate.conf"), text)
    for name in re.findall(r"ssl_certificate(?:_key)?\s+([^;]+);", text):
        own = directory / Path(name).name
        own.write_bytes(sample(own.name, world))
        text = text.replace(name, str(own))
    path = directory / f"nginx-{block.line}.conf"
    path.write_text(f"pid {directory}/nginx.pid;\nerror_log stderr;\n{text}")
    status, said = world.run([program, "-t", "-p", directory, "-c", path])
    return None if status == 0 else f"nginx says:\n{said}"


def parsed(load):
    """A checker of what only has to be of its kind."""
    def checker(block: Block, world: World) -> str | None:
        try:
            load(world.here(block.text))
        except (ValueError, yaml.YAMLError) as error:
            return f"cannot be read: {error}"
        return None
    return checker


def html(block: Block, world: World) -> str | None:
    return None if "file" in block.said else "html is shown in a browser: name it by `<!-- file: NAME -->`, or mark it not run"


def browser(block: Block, world: World) -> str | None:
    """Opens the page; `URL shows img video`. The URL may be the content of a file: `$(cat url)`."""
    url, _, seen = block.text.partition(" shows ")
    status, url = world.sh(f'echo "{url}"')
    if status != 0:
        return f"no URL: {url}"
    command = ["node", ROOT / "tests/browser/book.mjs", url.strip(), *seen.split()]
    status, said = world.run(command, environment={"LOCKGATE_TOOLS": str(world.tools)})
    return None if status == 0 else f"the browser says:\n{said}"


KINDS = {
    "sh": sh, "toml": toml, "python": python, "ts": typescript, "js": javascript, "nginx": nginx, "html": html,
    "json": parsed(json.loads), "yaml": parsed(lambda text: list(yaml.safe_load_all(text))), "browser": browser,
}
