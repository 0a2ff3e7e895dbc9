"""Fills Label Studio by its API, as its administrator: a project for each kind of media, and those the tests need."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import media
from garage import ID, REGION, SECRET, Garage
from processes import Failed

BUCKET = "media"
PREFIX = "studio"

TIME_SERIES = """<View><TimeSeriesLabels name="label" toName="ts"><Label value="Up"/><Label value="Down"/>
</TimeSeriesLabels><TimeSeries name="ts" valueType="url" value="$csv" sep="," timeColumn="time">
<Channel column="first" strokeColor="#1f77b4" legend="First"/><Channel column="second" strokeColor="#ff7f0e"
legend="Second"/></TimeSeries></View>"""

# Title, the label configuration, the tasks' data with the names of files in it.
KINDS = {
    "image": (
        "Image",
        """<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">
        <Label value="Ring"/><Label value="Line"/></RectangleLabels></View>""",
        [{"image": "image.png"}, {"image": "photo.jpg"}, {"image": "small.png"}],
    ),
    "audio": (
        "Audio",
        """<View><Labels name="label" toName="audio"><Label value="Loud"/><Label value="Quiet"/></Labels>
        <Audio name="audio" value="$audio"/></View>""",
        [{"audio": "audio.wav"}, {"audio": "audio.mp3"}],
    ),
    "video": (
        "Video",
        """<View><Labels name="label" toName="video"><Label value="Thing"/></Labels>
        <Video name="video" value="$video" framerate="25"/><VideoRectangle name="box" toName="video"/></View>""",
        [{"video": "video.mp4"}],
    ),
    "pdf": (
        "PDF",
        """<View><Choices name="choice" toName="pdf" showInline="true"><Choice value="Keep"/><Choice value="Drop"/>
        </Choices><Pdf name="pdf" value="$pdf"/></View>""",
        [{"pdf": "document.pdf"}],
    ),
    "text": (
        "Text",
        """<View><Labels name="label" toName="text"><Label value="Animal"/></Labels>
        <Text name="text" value="$text" valueType="url"/></View>""",
        [{"text": "text.txt"}],
    ),
    "html": (
        "HTML",
        """<View><HyperTextLabels name="label" toName="html"><Label value="Part"/></HyperTextLabels>
        <HyperText name="html" value="$html" valueType="url"/></View>""",
        [{"html": "page.html"}],
    ),
    "series": ("Time series", TIME_SERIES, [{"csv": "series.csv"}]),
}
EVERYTHING = """<View><Header value="$title"/><Choices name="choice" toName="title"><Choice value="Yes"/></Choices>
<Text name="title" value="$title"/></View>"""
# Objects beside the samples: a key of every odd character, and what only storage knows.
ODD_KEY = "odd/a b+c (1) é ü 日本.png"


def fill(
    base: str, token: str, garage: Garage, files: dict[str, Path], local_root: Path, presign: bool
) -> dict:
    """Uploads and creates everything; what there is, by name. `presign` is for the projects of one kind: without a

    gateway the editor cannot follow a presigned URL into a bucket that knows no CORS.
    """
    uploads = Uploads(garage, files)
    contents = uploads.all()
    api = Api(base, token)
    projects, tasks = {}, {}
    for kind, (title, config, data) in KINDS.items():
        projects[kind] = api.project(title, config)
        api.s3_storage(projects[kind], garage, PREFIX, presign)
        tasks[kind] = [
            api.task(projects[kind], {field: uri(name) for field, name in one.items()}) for one in data
        ]
    named = {name: uri(name) for name in [*files, "odd", "missing.png"] if name != "other.png"}
    named["odd"] = uri(ODD_KEY)
    named["outside"] = f"s3://{BUCKET}/elsewhere/outside.png"
    for name, title, presigned in [
        ("everything", "All media, by presigned URLs", True), ("streamed", "All media, streamed", False),
    ]:
        projects[name] = api.project(title, EVERYTHING)
        api.s3_storage(projects[name], garage, PREFIX, presigned)
        tasks[name] = [api.task(projects[name], {"title": title, "media": list(named.values())})]
    projects["other"] = api.project("Another project, same bucket", EVERYTHING)
    api.s3_storage(projects["other"], garage, "other", presign=True)
    tasks["other"] = [api.task(projects["other"], {"title": "Other", "media": [f"s3://{BUCKET}/other/other.png"]})]
    projects["passing"] = api.project("Tasks that tests delete", EVERYTHING)
    api.s3_storage(projects["passing"], garage, PREFIX, presign=True)
    tasks["passing"] = [
        api.task(projects["passing"], {"title": "Passing", "media": [uri("image.png")]}) for _ in range(3)
    ]
    projects["local"] = api.project("Local files", KINDS["image"][1])
    api.call("POST", "/api/storages/localfiles/", {
        "project": projects["local"], "path": str(local_root / "shared"), "use_blob_urls": True, "title": "Local",
    })
    tasks["local"] = [api.task(projects["local"], {"image": "/data/local-files/?d=shared/small.png"})]
    objects = {**named, "unnamed": uri("unnamed.png"), "other": f"s3://{BUCKET}/other/other.png"}
    return {"projects": projects, "tasks": tasks, "objects": {
        name: {"uri": one, **contents.get(one, {})} for name, one in objects.items()
    }}


def uri(name: str) -> str:
    """Where a sample lies."""
    return f"s3://{BUCKET}/{PREFIX}/{name}"


class Uploads:
    """What the bucket holds."""

    def __init__(self, garage: Garage, files: dict[str, Path]):
        self._client, self._files = garage.client(), files
        self._contents: dict[str, dict] = {}

    def all(self) -> dict[str, dict]:
        """What lies at each URI: the file it was made from, and the entity tag that storage gave it."""
        self._client.create_bucket(Bucket=BUCKET)
        for name in self._files:
            if name != "other.png":
                self._put(f"{PREFIX}/{name}", name)
        self._put(f"{PREFIX}/{ODD_KEY}", "small.png")
        self._put(f"{PREFIX}/unnamed.png", "other.png")
        self._put("elsewhere/outside.png", "other.png")
        self._put("other/other.png", "other.png")
        return self._contents

    def _put(self, key: str, name: str) -> None:
        path = self._files[name]
        kind = media.TYPES[path.suffix]
        put = self._client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes(), ContentType=kind)
        self._contents[f"s3://{BUCKET}/{key}"] = {"file": str(path), "etag": put["ETag"].strip('"')}


class Api:
    """Label Studio's API with a token."""

    def __init__(self, base: str, token: str):
        self._base, self._token = base, token

    def call(self, method: str, path: str, body: dict):
        request = urllib.request.Request(
            self._base + path, json.dumps(body).encode(), method=method,
            headers={"Authorization": f"Token {self._token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read()[:500].decode(errors='replace')}") from error

    def project(self, title: str, config: str) -> int:
        return self.call("POST", "/api/projects/", {"title": title, "label_config": config})["id"]

    def task(self, project: int, data: dict) -> int:
        return self.call("POST", "/api/tasks/", {"project": project, "data": data})["id"]

    def s3_storage(self, project: int, garage: Garage, prefix: str, presign: bool) -> None:
        self.call("POST", "/api/storages/s3/", {
            "project": project, "bucket": BUCKET, "prefix": prefix, "title": f"{BUCKET}/{prefix}",
            "aws_access_key_id": ID, "aws_secret_access_key": SECRET, "s3_endpoint": garage.endpoint,
            "region_name": REGION, "presign": presign, "presign_ttl": 15, "use_blob_urls": True,
        })
