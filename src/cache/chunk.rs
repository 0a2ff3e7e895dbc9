//! A chunk of an object version, and how it comes into being: copied once, as it arrives, into the memory it is kept in.
//!
//! What is kept is then exactly what is weighed, no receive buffer lives on behind a slice of it, and those who cannot
//! wait read what is there already.

use std::sync::Arc;

use bytes::Bytes;

use super::arena::{Arena, Filling};

/// The bytes of a chunk, whole, in one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk(Bytes);

impl Chunk {
    /// A chunk of bytes that lie in memory of exactly their length.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes from `offset` to the end, without a copy; `None` past the end.
    pub fn at(&self, offset: u64) -> Option<Bytes> {
        let offset = usize::try_from(offset).ok()?;
        (offset < self.0.len()).then(|| self.0.slice(offset..))
    }
}

/// A chunk that is being filled.
pub struct Growing {
    room: usize,
    kept: Kept,
}

enum Kept {
    Slot(Filling),
    /// Frames as they were received, gathered when all are in.
    Heap(Vec<Bytes>),
}

/// What can be read of a chunk that has grown.
#[derive(Clone, Debug)]
pub enum Grown {
    /// All of it so far, in one piece.
    All(Bytes),
    /// What came after that which was there.
    More(Bytes),
}

impl Growing {
    /// One that will be `length` bytes long; in the arena, where there is one with room.
    pub fn new(length: usize, arena: Option<&Arc<Arena>>) -> Self {
        let kept = match arena.and_then(|arena| arena.slot(length)) {
            Some(filling) => Kept::Slot(filling),
            None => Kept::Heap(Vec::new()),
        };
        Self { room: length, kept }
    }

    /// How many bytes are still to come.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Appends a frame, of which no more than there is room for, and gives what can be read now.
    pub fn push(&mut self, mut frame: Bytes) -> Grown {
        frame.truncate(self.room);
        self.room -= frame.len();
        match &mut self.kept {
            Kept::Slot(filling) => {
                filling.push(&frame);
                Grown::All(filling.filled())
            }
            Kept::Heap(frames) => {
                frames.push(frame.clone());
                Grown::More(frame)
            }
        }
    }

    /// The chunk of bytes that are all there.
    pub fn filled_with(self, bytes: &[u8]) -> Chunk {
        if let Kept::Slot(mut filling) = self.kept {
            filling.push(bytes);
            return Chunk(filling.filled());
        }
        Chunk(Bytes::copy_from_slice(bytes))
    }

    /// The chunk, of what came.
    pub fn finish(self) -> Chunk {
        Chunk(match self.kept {
            Kept::Slot(filling) => filling.filled(),
            Kept::Heap(frames) => Bytes::from(frames.concat().into_boxed_slice()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_the_frames_it_was_filled_with_and_is_read_as_it_grows() {
        let arena = Arena::new(4 << 20).expect("an arena");
        for arena in [None, Some(&arena)] {
            for lengths in [vec![1], vec![100_000, 1, 99_999], vec![70_000; 3]] {
                let all: usize = lengths.iter().sum();
                let mut growing = Growing::new(all, arena);
                let (mut read, mut expected) = (Vec::new(), Vec::new());
                for (number, &length) in lengths.iter().enumerate() {
                    let frame = vec![number as u8 + 1; length];
                    expected.extend_from_slice(&frame);
                    match growing.push(frame.into()) {
                        Grown::All(bytes) => read = bytes.to_vec(),
                        Grown::More(bytes) => read.extend_from_slice(&bytes),
                    }
                    assert!(read == expected);
                }
                assert_eq!(growing.room(), 0);
                let chunk = growing.finish();
                assert!(chunk.bytes()[..] == expected);
                assert_eq!(
                    chunk.at(all as u64 - 1),
                    Some(chunk.bytes().slice(all - 1..))
                );
                assert_eq!(chunk.at(all as u64), None);
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_cut() {
        let mut growing = Growing::new(3, None);
        assert!(
            matches!(growing.push(Bytes::from_static(b"abcd")), Grown::More(more) if more == "abc")
        );
        assert_eq!(growing.finish().bytes(), "abc");
    }
}
