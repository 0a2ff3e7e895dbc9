//! Tests of what is shared. They stand outside its files, which `shuttled` compiles a second time.

mod fetch;
mod shuttled;
mod single_flight;
mod window;
mod windows;

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use crate::cache::{CHUNK_SIZE, Chunk, Grown};
use crate::ids::StorageId;
use crate::object::{ETag, ObjectLocation, ObjectVersion};

const C: u64 = CHUNK_SIZE;
/// An object of two chunks, the second one short.
const LENGTH: u64 = C + 10;

static CONTENT: LazyLock<Bytes> = LazyLock::new(|| {
    let byte = |position: u64| (position % 251) as u8;
    (0..LENGTH).map(byte).collect::<Vec<u8>>().into()
});

fn content(range: std::ops::Range<u64>) -> Bytes {
    CONTENT.slice(range.start as usize..range.end as usize)
}

/// What a writer does to a window of that object, one step after another.
#[derive(Clone)]
enum Step {
    Grow(Grown),
    Complete(Chunk),
}

fn steps() -> [Step; 5] {
    [
        Step::Grow(Grown::All(content(0..1000))),
        Step::Grow(Grown::All(content(0..C - 1))),
        Step::Complete(Chunk::new(content(0..C))),
        Step::Grow(Grown::More(content(C..C + 3))),
        Step::Complete(Chunk::new(content(C..LENGTH))),
    ]
}

fn version() -> Arc<ObjectVersion> {
    let location = ObjectLocation {
        storage: StorageId::from("s"),
        epoch: 0,
        bucket: "b".into(),
        key: "k".into(),
    };
    let etag = ETag::strong("v").expect("a tag");
    Arc::new(ObjectVersion { location, etag })
}
