"""The sample media: one file of every kind that Label Studio's editor shows, made once and kept.

Nothing is downloaded and nothing is random: the same files come out each time, so that their bytes can be compared.
"""

import math
import struct
import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg
from PIL import Image, ImageDraw

MIB = 1 << 20
WINDOW = 8 * MIB  # what Label Studio means one range to be, and what Lockgate fetches at a time
VIDEO_SECONDS = 40
AUDIO_SECONDS = 20

TYPES = {
    ".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml", ".wav": "audio/wav", ".mp3": "audio/mpeg",
    ".mp4": "video/mp4", ".pdf": "application/pdf", ".txt": "text/plain", ".html": "text/html", ".csv": "text/csv",
    ".bin": "application/octet-stream",
}


def make(directory: Path) -> dict[str, Path]:
    """Every file by its name; those that are there already are left as they are."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, maker in MAKERS.items():
        path = directory / name
        if not path.exists():
            new = path.with_stem("new-" + path.stem)
            maker(new)
            new.rename(path)
    return {name: directory / name for name in MAKERS}


def _picture(size, hue: int) -> Image.Image:
    width, height = size
    picture = Image.radial_gradient("L").resize(size)
    turned = Image.linear_gradient("L").resize(size)
    picture = Image.merge("RGB", (picture, turned, Image.new("L", size, hue)))
    draw = ImageDraw.Draw(picture)
    for step in range(0, width, 40):
        draw.line((step, 0, width - step, height), fill=(255 - step % 255, 255, step % 255))
    return picture


def _png(path: Path) -> None:
    _picture((1200, 800), 90).save(path)


def _small_png(path: Path) -> None:
    _picture((320, 200), 160).save(path)


def _other_png(path: Path) -> None:
    _picture((320, 200), 20).save(path)


def _jpeg(path: Path) -> None:
    _picture((1000, 750), 200).save(path, quality=88)


def _wav(path: Path) -> None:
    rate = 16_000
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        frames = bytearray()
        for index in range(rate * AUDIO_SECONDS):
            seconds = index / rate
            loudness = 0.1 + 0.8 * abs(math.sin(math.pi * seconds / 4))
            frames += struct.pack("<h", int(32_000 * loudness * math.sin(2 * math.pi * 330 * seconds)))
        out.writeframes(frames)


def _mp3(path: Path) -> None:
    _ffmpeg("-f", "lavfi", "-i", f"sine=frequency=440:duration={AUDIO_SECONDS}", "-b:a", "64k", path)


def _video(path: Path) -> None:
    source = f"testsrc2=size=1280x720:rate=25:duration={VIDEO_SECONDS},noise=alls=12:allf=t:all_seed=1"
    _ffmpeg(
        "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        "-g", "25", "-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "4M",
        "-x264-params", "nal-hrd=cbr", "-threads", "2", "-movflags", "+faststart", path,
    )


def _ffmpeg(*arguments) -> None:
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    command = [ffmpeg, "-y", "-nostdin", "-loglevel", "error", "-bitexact", *map(str, arguments)]
    subprocess.run(command, check=True)


def _pdf(path: Path) -> None:
    """One page with a sentence on it, by PDF 1.4's rules: objects, their table, and where the table stands."""
    said = b"BT /F1 28 Tf 60 700 Td (Lockgate: a page of text in a PDF) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(said), said),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    path.write_bytes(out)


def _text(path: Path) -> None:
    lines = (f"Line {number}: the quick brown fox jumps over the lazy dog." for number in range(1, 401))
    path.write_text("\n".join(lines) + "\n")


def _html(path: Path) -> None:
    # The script is what a storage must not be able to run on the editor's origin; in the editor it is inert.
    path.write_text(
        "<!doctype html><meta charset=utf-8><title>untouched</title>"
        "<h1>A page from storage</h1><p>Its paragraph can be labelled.</p>"
        "<script>document.title = 'script ran as ' + origin</script>\n"
    )


def _svg(path: Path) -> None:
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="80" height="80"><circle cx="40" cy="40" r="30"/>'
        "<script>parent.document.title = 'script ran'</script></svg>\n"
    )


def _series(path: Path) -> None:
    rows = (f"{t},{math.sin(t / 15):.4f},{math.cos(t / 40) * 2:.4f}" for t in range(2_000))
    path.write_text("time,first,second\n" + "\n".join(rows) + "\n")


def _window(path: Path) -> None:
    path.write_bytes(bytes((index * 31 + (index >> 8)) & 0xFF for index in range(1 << 16)) * (WINDOW >> 16))


MAKERS = {
    "image.png": _png, "small.png": _small_png, "photo.jpg": _jpeg, "drawing.svg": _svg, "other.png": _other_png,
    "audio.wav": _wav, "audio.mp3": _mp3, "video.mp4": _video, "document.pdf": _pdf, "text.txt": _text,
    "page.html": _html, "series.csv": _series, "window.bin": _window,
    "empty.bin": lambda path: path.write_bytes(b""),
}
