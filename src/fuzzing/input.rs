//! An input taken apart: text, so that a corpus can be read.

/// The first lines of an input, and all the rest as the last; empty where there are fewer.
pub(super) fn lines<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut lines = input.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

/// A line that is a number, or `otherwise`.
pub(super) fn number(line: &[u8], otherwise: u64) -> u64 {
    let text = std::str::from_utf8(line).unwrap_or_default();
    text.parse().unwrap_or(otherwise)
}
