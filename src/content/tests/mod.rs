//! Tests of what is shared. They stand outside its files, which `shuttled` compiles a second time.

mod shuttled;
mod single_flight;
mod window;

use bytes::Bytes;

use crate::cache::Chunk;

fn heap(frames: &[Bytes]) -> Chunk {
    Chunk::gather(frames, None)
}
