"""`docs/openapi.yaml` against the server: it is valid, it has every route and every problem that the code has, and what
a running Lockgate answers is what it says, in status, type and header fields.

Each operation is asked in the cases below; every status that it documents is provoked, or stands in `ELSEWHERE` with
the test that does. An answer's field that the document does not name is a mistake as well.
"""

import http.client
import json
import re
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from world import ROOT, World

EDITOR = "https://editor.example.com"
# What cannot be had by a request or two, and where it is.
ELSEWHERE = {
    "408": "tests/it/clients_misbehave.rs", "500": "src/serve/error/tests.rs",
    "502": "tests/it/storage_misbehaves.rs", "504": "tests/it/storage_misbehaves.rs",
}
# Fields of every answer: of the message itself, and for other origins.
ANY = {"date", "connection", "transfer-encoding", "access-control-allow-origin", "access-control-allow-credentials",
       "access-control-expose-headers", "vary", "content-type"}

CONFIGURATION = f"""
[auth]
secure_cookie = false
[auth.jwt]
issuer = "i"
audience = "lockgate"
algorithms = ["HS256"]
hmac_secret = {{ env = "LOCKGATE_JWT_SECRET" }}
[access]
file = "projects.toml"
[server]
drain = "1s"
[server.cors]
allowed_origins = ["{EDITOR}"]
[[storage]]
id = "files"
kind = "local"
root = "media"
[[storage]]
id = "away"
kind = "s3"
bucket = "away"
endpoint = "http://127.0.0.1:1"
region = "r"
access_key_id = "AKIA0"
secret_access_key = "s"
delivery = "redirect"
[[storage]]
id = "down"
kind = "s3"
bucket = "down"
endpoint = "http://127.0.0.1:1"
region = "r"
access_key_id = "AKIA0"
secret_access_key = "s"
"""
LIST = """
[[project]]
id = "1"
storages = ["files", "away", "down"]
members = ["anna"]
media = "storage"
[[project.task]]
id = "7"
media = ["local://files/a.svg", "local://files/gone.png", "s3://away/a.png", "s3://down/a.png"]
"""
HERE = {"task": "7", "project": "1"}
A, GONE = "local://files/a.svg", "local://files/gone.png"


def cases(path: str, method: str) -> list[tuple[int, dict]]:
    """The statuses to provoke, and how: what is asked for, by whom, with which fields."""
    if path == "/session":
        limited = [(429, {"limited": True})]
        return {"post": [(204, {}), (401, {"token": None}), (401, {"token": "x"}), *BROKEN, *limited],
                "delete": [(204, {"token": None}), (204, {}), *BROKEN], "options": PREFLIGHT}[method]
    if path in ("/", "/status", "/status.json", "/healthz", "/readyz", "/metrics", "/cache/purge"):
        return [(200, {"token": None}), (403, {"token": None, "headers": {"Origin": EDITOR}})]
    if method == "options":
        return PREFLIGHT
    found = [
        (200, {}), (304, {"headers": {"If-None-Match": "*"}}), (400, {"uri": "nonsense"}), (400, {"uri": None}),
        (401, {"token": None}), (401, {"token": "x"}), (403, {"uri": "local://other/b.png"}), (404, {"uri": GONE}),
        (406, {"headers": {"Sec-Fetch-Dest": "script"}}), (412, {"headers": {"If-Match": '"another"'}}),
        (429, {"limited": True}), *BROKEN,
    ]
    if "local-files" in path:
        found = [case for case in found if case[1].get("uri") not in ("local://other/b.png", "nonsense")]
        found += [(403, {"subject": "eve"}), (400, {"uri": "local://files/../a"})]
    else:
        found += [(303, {"uri": "s3://away/a.png"}), (503, {"uri": "s3://down/a.png"})]
    if method == "get":
        found += [(206, {"headers": {"Range": "bytes=0-3"}}), (416, {"headers": {"Range": "bytes=9999-"}})]
    return found


PREFLIGHT = [(204, {"token": None}), (204, {"token": None, "headers": {"Origin": EDITOR, "Access-Control-Request-Method": "GET"}})]
BROKEN = [(400, {"headers": {"Host": "a b"}}), (413, {"headers": {"Content-Length": "99999999"}}),
          (414, {"long": True}), (431, {"headers": {f"X-{n}": "1" for n in range(200)}})]


def problems(options) -> list[str]:
    document = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
    try:
        validate(document)
    except Exception as error:  # of many kinds, each with its words
        return [f"not OpenAPI 3.1: {str(error)[:500]}"]
    return routes(document) + known_problems(document) + walk(document, options)


def routes(document: dict) -> list[str]:
    """Each word of a path that the code compares stands in a path here, and the other way round."""
    code = (ROOT / "src/serve/request.rs").read_text().split("pub fn allow")[0]
    words = set(re.findall(r'is\(\w+, "([\w-]+)"\)', code))
    admin = (ROOT / "src/serve/admin.rs").read_text().split("#[cfg(test)]")[0]
    arms = re.findall(r'^\s+((?:"/[\w/.]*"(?: \| )?)+)(?: if| =>)', admin, re.M)
    paths = {path for arm in arms for path in re.findall(r'"([^"]+)"', arm)}
    documented = set(document["paths"])
    own = {path for path in documented if "servers" not in document["paths"][path]}
    said = {word for path in own for word in path.strip("/").split("/") if not word.startswith("{")}
    return ([f"a route of the code is missing: {word}" for word in sorted((words - said) | (paths - documented))]
            + [f"no route of the code: {word}" for word in sorted((said - words) | (documented - own - paths))])


def known_problems(document: dict) -> list[str]:
    """Every problem of the code, under the status that it has there."""
    code = re.sub(r"\s+", " ", (ROOT / "src/serve/error.rs").read_text())
    names = {"PAYLOAD_TOO_LARGE": 413, "RANGE_NOT_SATISFIABLE": 416, "URI_TOO_LONG": 414, "REQUEST_HEADER_FIELDS_TOO_LARGE": 431}
    statuses = {status.name: int(status) for status in http.HTTPStatus} | names
    written = {(name, statuses[status]) for status, name in
               re.findall(r'problem\( ?(?:S|StatusCode)::(\w+), "([\w-]+)"', code)}
    said = set()
    for key, response in document["components"]["responses"].items():
        used = {status for item in document["paths"].values() for operation in item.values() if isinstance(operation, dict)
                for status, answer in operation.get("responses", {}).items() if answer.get("$ref", "").endswith(f"/{key}")}
        used |= {"405"} if key == "MethodNotAllowed" else set()
        said |= {(name, int(status)) for name in response.get("x-problems", []) for status in used}
    listed = {name.rsplit(":", 1)[1] for name in document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]}
    return ([f"a problem of the code is missing: {name} {status}" for name, status in sorted(written - said)]
            + [f"no problem of the code: {name} {status}" for name, status in sorted(said - written)]
            + [f"not in the list of types: {name}" for name in sorted({name for name, _ in written} ^ listed)])


class Server:
    """A running Lockgate, and one that is limited to a request a second."""

    def __init__(self, options, directory: Path):
        self.usual, self.limited = World(directory / "usual", options.lockgate.resolve(), options.tools.resolve()), None
        self.limited = World(directory / "limited", options.lockgate.resolve(), options.tools.resolve())
        self.tokens = {}
        for world, more in ((self.usual, ""), (self.limited, "[server.limits]\nrequests_per_second = 1\n")):
            world.environment["LOCKGATE_JWT_SECRET"] = "0123456789abcdef" * 4
            world.write("lockgate.toml", CONFIGURATION.replace("[[storage]]", more + "[[storage]]", 1))
            world.write("projects.toml", LIST)
            world.write("media/a.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
            status, said = world.sh("lockgate serve")
            if status != 0:
                raise RuntimeError(said)
        for subject in ("anna", "eve"):
            self.tokens[subject] = self.usual.sh(f"lockgate token --subject {subject}")[1].strip()

    def ask(self, path: str, method: str, case: dict, admin: bool):
        world = self.limited if case.get("limited") else self.usual
        headers = {"Origin": EDITOR} if not admin and "Origin" not in case.get("headers", {}) else {}
        token = case.get("token", self.tokens[case.get("subject", "anna")])
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= case.get("headers", {})
        asked = path.format(**HERE)
        target = (asked.rstrip("/") if case.get("slashless") else asked) + self.query(path, case)
        for _ in range(20 if case.get("limited") else 1):
            connection = http.client.HTTPConnection("127.0.0.1", world.ports[9090 if admin else 8080], timeout=60)
            connection.putrequest(method.upper(), target, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            if answer.status == 429:
                break
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    @staticmethod
    def query(path: str, case: dict) -> str:
        long = "&x=" + "x" * 20_000 if case.get("long") else ""
        if not path.endswith(("resolve/", "presign/", "local-files/")):
            return long.replace("&", "?", 1)
        uri = case.get("uri", A)
        if uri is None:
            return f"?{long}"
        if "local-files" in path:
            return f"?d={quote(uri.removeprefix('local://files/'), safe='')}{long}"
        return f"?fileuri={quote(uri, safe='')}{long}"

    def end(self) -> None:
        self.usual.end()
        self.limited.end()


def walk(document: dict, options) -> list[str]:
    directory = Path(tempfile.mkdtemp(prefix="lockgate-book-"))
    (directory / "usual").mkdir()
    (directory / "limited").mkdir()
    server = Server(options, directory)
    found = []
    try:
        for path, item in document["paths"].items():
            admin = "servers" in item
            methods = {method: operation for method, operation in item.items() if method in ("get", "head", "post", "delete", "options")}
            for method, operation in methods.items():
                found += operated(document, server, path, method, operation, admin)
            found += other_methods(document, server, path, set(methods), admin)
    finally:
        server.end()
        shutil.rmtree(directory, ignore_errors=True)
    return found


def operated(document, server, path, method, operation, admin) -> list[str]:
    found, seen = [], set()
    for status, case in cases(path, method):
        name = f"{method.upper()} {path} {case}"[:160]
        answer = server.ask(path, method, case, admin)
        if answer[0] != status:
            found.append(f"{name}: {answer[0]} and not {status}: {answer[2][:200]!r}")
        elif str(status) not in operation["responses"]:
            found.append(f"{name}: {status} is not documented")
        else:
            seen.add(str(status))
            found += compared(document, name, method, resolved(document, operation["responses"][str(status)]), answer)
            if path.endswith("/") and case == {}:
                other = server.ask(path, method, {"slashless": True}, admin)
                found += [] if other[0] == status else [f"{name}: {other[0]} without the last slash"]
    documented = set(operation["responses"]) - set(ELSEWHERE) - seen
    # What every path shares is provoked on one of them.
    documented -= {"404", "503"} if path in ("/session", "/readyz") or "local-files" in path else set()
    return found + [f"{method.upper()} {path}: nothing here provokes {status}" for status in sorted(documented)]


def other_methods(document, server, path, methods, admin) -> list[str]:
    status, headers, body = server.ask(path, "patch", {}, admin)
    said = {method.strip().lower() for method in headers.get("allow", "").split(",")}
    if status != 405 or said != methods:
        return [f"PATCH {path}: {status}, Allow {sorted(said)} and not {sorted(methods)}"]
    if admin:
        return []
    return compared(document, f"PATCH {path}", "patch", document["components"]["responses"]["MethodNotAllowed"],
                    (status, headers, body))


def compared(document, name, method, response, answer) -> list[str]:
    """An answer with what the document says of it: fields, their values, the type, the problem document."""
    found, (status, headers, body) = [], answer
    said = {field.lower(): resolved(document, header) for field, header in response.get("headers", {}).items()}
    for field, header in said.items():
        if field not in headers:
            found += [f"{name}: {status} without {field}"] if header.get("required") else []
            continue
        schema, value = header["schema"], headers[field]
        value = int(value) if schema.get("type") == "integer" and value.isdigit() else value
        found += [f"{name}: {field}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]
    found += [f"{name}: {status} with {field}, which is not documented" for field in sorted(headers.keys() - said.keys() - ANY)]
    kinds = response.get("content", {})
    kind = headers.get("content-type")
    if kinds and not kind and not body and said.keys() == {"content-length"}:
        return found
    if kinds and kind not in kinds and not ("*/*" in kinds and kind):
        found.append(f"{name}: {status} of type {kind}, and not of {', '.join(kinds)}")
    schema = kinds.get(kind, {}).get("schema")
    if schema and method != "head" and "json" in kind:
        problem = json.loads(body)
        found += [f"{name}: {error.message}" for error in Draft202012Validator(resolved(document, schema)).iter_errors(problem)]
        allowed = response.get("x-problems")
        if allowed and problem["type"].rsplit(":", 1)[1] not in allowed:
            found.append(f"{name}: {problem['type']} is not documented for {status}")
    return found


def resolved(document: dict, node: dict) -> dict:
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node
