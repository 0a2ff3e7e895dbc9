//! The demo's media, drawn and played by this program: real PNG, WAV and MP4 files, the same at each start.
//!
//! No assets, no network, no codec library: the pictures are shapes, the sound is sines, the video is H.264 with
//! uncompressed macroblocks, computed when it is read.

mod canvas;
mod h264;
mod mp4;
mod png;
mod scenes;
mod video;
mod wav;

use super::s3::Content;

/// A file of the demo's bucket.
#[derive(Clone, Debug)]
pub struct Media {
    /// Its key in the bucket.
    pub key: &'static str,
    /// What a task calls it: `image`, `audio` or `video`.
    pub kind: &'static str,
    /// What is on it, for people who cannot see or hear it.
    pub caption: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its bytes.
    pub content: Content,
}

/// Everything, in the order of the tasks. Costs a fraction of a second: not for an async task.
pub fn all() -> Vec<Media> {
    let image = |key, caption, canvas: canvas::Canvas| Media {
        key,
        kind: "image",
        caption,
        content_type: "image/png",
        content: png::encode(&canvas).into(),
    };
    vec![
        image(
            "street/camera 1/noon.png",
            "A street at noon: cars, a bus, people",
            scenes::street_at_noon(),
        ),
        image(
            "street/camera 1/dusk.png",
            "The same street at dusk",
            scenes::street_at_dusk(),
        ),
        image(
            "sky/balloons+hills.png",
            "Hot-air balloons over hills",
            scenes::balloons(),
        ),
        image(
            "lab/cells (200×).png",
            "Stained cells under a microscope",
            scenes::cells(),
        ),
        Media {
            key: "audio/arpeggio.wav",
            kind: "audio",
            caption: "Thirty seconds of arpeggios, 44.1 kHz stereo",
            content_type: "audio/wav",
            content: wav::arpeggio().into(),
        },
        Media {
            key: "video/crossing.mp4",
            kind: "video",
            caption: "A car drives through the street; clock and frame number run",
            content_type: "video/mp4",
            content: video::crossing(),
        },
    ]
}
