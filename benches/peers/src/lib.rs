//! Objects without end, whose bytes are a function of name and position: what the origin serves, what lies in nginx's
//! directory, and what the client compares with. Nothing here does I/O.

use std::sync::LazyLock;

use bytes::Bytes;

/// What all objects are cut from. No multiple of a window, so that no two windows of an object are the same.
const BLOCK: usize = (13 << 20) + 4_099;

static RANDOM: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK + 8);
    while block.len() < BLOCK {
        // xorshift64: any bytes do that do not repeat.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend_from_slice(&state.to_le_bytes());
    }
    block.truncate(BLOCK);
    block.into()
});

/// An object by its name, which ends in its length and an extension: `video-0.536870912.mp4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Bytes.
    pub length: u64,
    hash: u64,
}

impl Object {
    /// The object that a path's last component names, if it is such a name.
    pub fn at(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (stem, _extension) = name.rsplit_once('.')?;
        let length = stem.rsplit_once('.')?.1.parse().ok()?;
        // FNV-1a.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(Self { length, hash })
    }

    /// Strong, and another one for each object.
    pub fn etag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.hash, self.length)
    }

    /// The bytes from `position` on, as many as lie together, `most` of them at most. Not copied.
    pub fn piece(&self, position: u64, most: u64) -> Bytes {
        let start = ((self.hash % BLOCK as u64 + position) % BLOCK as u64) as usize;
        let left = self.length.saturating_sub(position).min(most);
        let end = BLOCK.min(start.saturating_add(left.try_into().unwrap_or(usize::MAX)));
        RANDOM.slice(start..end)
    }

    /// Whether `found` are the bytes from `position` on.
    pub fn holds(&self, mut position: u64, mut found: &[u8]) -> bool {
        while !found.is_empty() {
            let piece = self.piece(position, found.len() as u64);
            if piece.is_empty() || found[..piece.len()] != piece[..] {
                return false;
            }
            position += piece.len() as u64;
            found = &found[piece.len()..];
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_its_name() {
        let object = Object::at("/media/video-0.40000000.mp4").unwrap();
        assert_eq!(object.length, 40_000_000);
        assert_eq!(Object::at("s3://media/video-0.40000000.mp4"), Some(object));
        assert_ne!(
            Object::at("video-1.40000000.mp4").unwrap().etag(),
            object.etag()
        );
        assert!(
            ["", "/", "video.mp4", "a.x.mp4"]
                .map(Object::at)
                .iter()
                .all(Option::is_none)
        );
    }

    #[test]
    fn pieces_make_the_whole_and_only_that_holds() {
        let object = Object::at("video-0.40000000.mp4").unwrap();
        let (mut whole, mut position) = (Vec::new(), 0);
        while position < object.length {
            let piece = object.piece(position, 1 << 20);
            position += piece.len() as u64;
            whole.extend_from_slice(&piece);
        }
        assert_eq!(whole.len() as u64, object.length);
        assert!(object.holds(8 << 20, &whole[8 << 20..]));
        assert!(!object.holds((8 << 20) + 1, &whole[8 << 20..]));
        assert!(!object.holds(object.length - 1, &whole[..2]));
    }
}
