//! Bytes that prove themselves: each offset has its own, so that a wrong range, window or version shows.

use std::sync::LazyLock;

/// A prime past 1 MiB: no two windows of an object look alike, and copying from a table is quick in a debug build.
const PERIOD: usize = 1_048_583;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..PERIOD).map(|_| next()).collect()
});

/// The content of one version of an object.
#[derive(Clone, Copy, Debug)]
pub struct Pattern(pub u64);

impl Pattern {
    /// Writes what stands at `offset`.
    pub fn fill(self, offset: u64, mut buffer: &mut [u8]) {
        let mut at = self.place(offset);
        while !buffer.is_empty() {
            let len = buffer.len().min(PERIOD - at);
            let (now, later) = buffer.split_at_mut(len);
            now.copy_from_slice(&TABLE[at..at + len]);
            buffer = later;
            at = 0;
        }
    }

    /// Whether these bytes are what stands at `offset`.
    pub fn holds(self, offset: u64, mut bytes: &[u8]) -> bool {
        let mut at = self.place(offset);
        while !bytes.is_empty() {
            let len = bytes.len().min(PERIOD - at);
            if bytes[..len] != TABLE[at..at + len] {
                return false;
            }
            bytes = &bytes[len..];
            at = 0;
        }
        true
    }

    /// The first `length` bytes.
    pub fn bytes(self, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(length).expect("it fits memory")];
        self.fill(0, &mut bytes);
        bytes
    }

    fn place(self, offset: u64) -> usize {
        ((offset + self.0 * 7919) % PERIOD as u64) as usize
    }
}
