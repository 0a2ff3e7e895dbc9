//! From what a reader wants of an object to chunks, and to the window that one request to storage brings. Pure.
//!
//! A window begins with the chunk that holds the position, and ends with a chunk or the object. What a client is sure
//! to read is asked for at once; who may stop anywhere (`bytes=X-`, as players ask) gets as much again as they have read.

use std::ops::Range;

use crate::cache::CHUNK_SIZE;

/// As much as one request to storage brings at most; access is asked again as often (contract §3).
pub const WINDOW_SIZE: u64 = 8 << 20;
/// What is asked for at first of a range that may be given up soon: a seek reads half a megabyte to find its picture.
const FIRST_WINDOW: u64 = 512 << 10;

/// How far a client is going to read, as far as its request tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To the end of what it asked for: everything, or a range that it bounded itself, and not wider than a window.
    Bounded,
    /// Nobody knows.
    Open,
}

/// What a reader wants: it began at `begun_at`, and is to read `left` yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it began.
    pub begun_at: u64,
    /// What it has not read yet; not empty.
    pub left: Range<u64>,
    /// How far it is going to.
    pub extent: Extent,
}

impl Wanted {
    /// The window to ask storage for, which holds the next byte that is wanted.
    pub fn window(&self, complete_length: u64) -> Range<u64> {
        let position = self.left.start;
        let size = match self.extent {
            Extent::Bounded => WINDOW_SIZE,
            Extent::Open => position.saturating_sub(self.begun_at) + FIRST_WINDOW,
        };
        let start = chunk_range(chunk_index(position), complete_length).start;
        let end = position.saturating_add(size).min(self.left.end);
        let end = end
            .checked_next_multiple_of(CHUNK_SIZE)
            .unwrap_or(u64::MAX)
            .min(start.saturating_add(WINDOW_SIZE))
            .min(complete_length);
        start..end
    }

    /// Where the window to fetch ahead begins for a reader of `present`: behind that, once it was read to its middle, in
    /// a go of a quarter of a megabyte, so that a seek that is given up at once costs no second window.
    pub fn ahead(&self, present: &Range<u64>) -> Option<u64> {
        let position = self.left.start;
        let begin = present.start.max(self.begun_at);
        let middle = begin + present.end.saturating_sub(begin) / 2;
        let reads_on = position.saturating_sub(self.begun_at) >= FIRST_WINDOW / 2;
        (reads_on && middle <= position && present.end < self.left.end).then_some(present.end)
    }
}

/// The chunk that holds a position.
pub fn chunk_index(position: u64) -> u64 {
    position / CHUNK_SIZE
}

/// A chunk's bytes in the object, cut at the object's end.
pub fn chunk_range(index: u64, complete_length: u64) -> Range<u64> {
    let start = index.saturating_mul(CHUNK_SIZE).min(complete_length);
    start..start.saturating_add(CHUNK_SIZE).min(complete_length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const C: u64 = CHUNK_SIZE;
    const MIB: u64 = 1 << 20;

    #[test]
    fn chunks_tile_the_object() {
        for complete_length in [1, C - 1, C, C + 1, 3 * C] {
            let mut position = 0;
            while position < complete_length {
                let range = chunk_range(chunk_index(position), complete_length);
                assert_eq!(range.start, position);
                assert!(!range.is_empty());
                position = range.end;
            }
            assert_eq!(position, complete_length);
        }
        assert_eq!(chunk_range(u64::MAX, 10), 10..10);
    }

    #[test]
    fn what_is_sure_to_be_read_is_one_window_and_what_may_not_be_grows() {
        const LENGTH: u64 = 100 * MIB + 5;
        for (extent, begun_at, left, window) in [
            (Extent::Bounded, 0, 0..8 * MIB, 0..8 * MIB),
            (Extent::Bounded, 0, 0..u64::MAX, 0..8 * MIB),
            (Extent::Bounded, 5, 5..6, 0..C),
            (Extent::Bounded, C - 1, C - 1..C + 1, 0..2 * C),
            (
                Extent::Bounded,
                100 * MIB,
                100 * MIB..LENGTH,
                100 * MIB..LENGTH,
            ),
            // Unaligned, it takes a second one: none is wider than 8 MiB.
            (Extent::Bounded, 5, 5..8 * MIB + 5, 0..8 * MIB),
            (
                Extent::Bounded,
                5,
                8 * MIB..8 * MIB + 5,
                8 * MIB..8 * MIB + C,
            ),
            (Extent::Open, 0, 0..LENGTH, 0..MIB / 2),
            (Extent::Open, 3 * C + 9, 3 * C + 9..LENGTH, 3 * C..6 * C),
            (Extent::Open, 0, MIB / 2..LENGTH, MIB / 2..3 * MIB / 2),
            (
                Extent::Open,
                0,
                3 * MIB / 2..LENGTH,
                3 * MIB / 2..7 * MIB / 2,
            ),
            (Extent::Open, 0, 50 * MIB..LENGTH, 50 * MIB..58 * MIB),
            (Extent::Open, 0, 0..10, 0..C),
        ] {
            let wanted = Wanted {
                begun_at,
                left,
                extent,
            };
            assert_eq!(wanted.window(LENGTH), window, "{wanted:?}");
        }
    }

    #[test]
    fn reading_ahead_waits_for_the_middle_of_a_window_and_stops_at_the_end_of_the_range() {
        for (begun_at, position, range_end, present, ahead) in [
            (0, 0, 10 * MIB, 0..2 * C, None),
            (0, C - 1, 10 * MIB, 0..2 * C, None),
            (0, C, 10 * MIB, 0..2 * C, Some(2 * C)),
            (0, C, 2 * C, 0..2 * C, None),
            (0, C, 2 * C + 1, 0..2 * C, Some(2 * C)),
            // It has not read a quarter of a megabyte in one go.
            (2 * C - 9, 2 * C, 10 * MIB, 0..3 * C, None),
            (0, 9 * MIB, 50 * MIB, 4 * MIB..12 * MIB, Some(12 * MIB)),
            (0, 7 * MIB, 50 * MIB, 4 * MIB..12 * MIB, None),
        ] {
            let wanted = Wanted {
                begun_at,
                left: position..range_end,
                extent: Extent::Open,
            };
            assert_eq!(wanted.ahead(&present), ahead, "{wanted:?} {present:?}");
        }
    }

    /// Positions about the bounds of chunks and windows, and any others.
    fn position() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0..100u64, 0..3u64).prop_map(|(chunk, off)| (chunk * C + off).saturating_sub(1)),
            0..40 * MIB,
            any::<u64>(),
        ]
    }

    fn extent() -> impl Strategy<Value = Extent> {
        prop_oneof![Just(Extent::Bounded), Just(Extent::Open)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn windows_tile_what_is_read_and_bring_no_byte_twice(
            (first, length, complete_length, extent) in (position(), 1..40 * MIB, position(), extent()),
        ) {
            let complete_length = complete_length.max(1);
            let begun_at = first % complete_length;
            let end = begun_at.saturating_add(length).min(complete_length);
            let mut wanted = Wanted { begun_at, left: begun_at..end, extent };
            let mut last: Option<Range<u64>> = None;
            while !wanted.left.is_empty() {
                let window = wanted.window(complete_length);
                prop_assert!(window.contains(&wanted.left.start), "it holds what is read next");
                prop_assert!(window.end - window.start <= WINDOW_SIZE);
                prop_assert!(window.end <= complete_length, "never past the end");
                prop_assert_eq!(window.start % C, 0);
                prop_assert!(window.end.is_multiple_of(C) || window.end == complete_length);
                prop_assert!(window.end - end.min(window.end) < C, "no chunk is read for nothing");
                prop_assert!(wanted.left.start - window.start < C);
                if let Some(last) = last {
                    prop_assert_eq!(window.start, last.end, "no hole, no overlap");
                }
                wanted.left.start = window.end.min(end);
                last = Some(window);
            }
        }

        #[test]
        fn a_reader_that_stops_has_had_no_more_brought_than_twice_what_it_read_and_a_little(
            (begun_at, read, length) in (0..1u64 << 40, 1..40 * MIB, 1..1u64 << 40),
        ) {
            let complete_length = begun_at + read + length;
            let mut wanted = Wanted { begun_at, left: begun_at..complete_length, extent: Extent::Open };
            let mut brought = 0;
            while wanted.left.start < begun_at + read {
                let window = wanted.window(complete_length);
                brought += window.end - window.start;
                wanted.left.start = window.end;
            }
            prop_assert!(brought <= 2 * read + FIRST_WINDOW + 2 * C, "{brought} for {read}");
        }

        #[test]
        fn reading_ahead_is_of_what_follows_the_present_window_within_the_range_or_of_nothing(
            (begun_at, position, range_end, start, length) in
                (position(), position(), position(), 0..1000u64, 1..32u64),
        ) {
            let present = start * C..(start + length) * C;
            let wanted = Wanted { begun_at, left: position..range_end, extent: Extent::Open };
            if let Some(ahead) = wanted.ahead(&present) {
                prop_assert_eq!(ahead, present.end);
                prop_assert!(ahead < range_end);
                prop_assert!(position >= begun_at + FIRST_WINDOW / 2);
                prop_assert!((position - start * C) / C >= length / 2);
            }
        }
    }
}
