//! From a range of an object to the chunks that hold it. Pure.

use std::ops::Range;

use crate::cache::CHUNK_SIZE;

/// The chunk that holds a position.
pub fn chunk_index(position: u64) -> u64 {
    position / CHUNK_SIZE
}

/// A chunk's bytes in the object, cut at the object's end.
pub fn chunk_range(index: u64, complete_length: u64) -> Range<u64> {
    let start = index.saturating_mul(CHUNK_SIZE).min(complete_length);
    start..start.saturating_add(CHUNK_SIZE).min(complete_length)
}

/// The chunk to fetch ahead for a reader: the next one, once half a chunk was read in one go, so that a seek that is
/// given up at once costs no second window. `None` where the range ends before it.
pub fn read_ahead(begun_at: u64, position: u64, range_end: u64) -> Option<u64> {
    let next = chunk_index(position) + 1;
    let reads_on = position.saturating_sub(begun_at) >= CHUNK_SIZE / 2;
    let near = position % CHUNK_SIZE >= CHUNK_SIZE / 2;
    (reads_on && near && next.saturating_mul(CHUNK_SIZE) < range_end).then_some(next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const C: u64 = CHUNK_SIZE;

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
    fn reading_ahead_waits_for_half_a_chunk_and_stops_at_the_end_of_the_range() {
        for (begun_at, position, range_end, next) in [
            (0, 0, 10 * C, None),
            (0, C / 2 - 1, 10 * C, None),
            (0, C / 2, 10 * C, Some(1)),
            (0, C / 2, C, None),
            (0, C / 2, C + 1, Some(1)),
            (C - 100, C + 50, 10 * C, None),
            (5 * C, 5 * C + C / 2, 10 * C, Some(6)),
        ] {
            assert_eq!(
                read_ahead(begun_at, position, range_end),
                next,
                "{begun_at} {position} {range_end}"
            );
        }
    }

    /// Positions about the bounds of chunks, and any others.
    fn position() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0..6u64, 0..3u64).prop_map(|(chunk, off)| (chunk * C + off).saturating_sub(1)),
            0..6 * C,
            any::<u64>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_chunks_of_a_range_tile_it_and_none_is_left_out_or_read_for_nothing(
            (first, length, complete_length) in (position(), 1..5 * C, position()),
        ) {
            let complete_length = complete_length.max(1);
            let first = first % complete_length;
            let end = first.saturating_add(length).min(complete_length);
            let chunks = chunk_index(first)..=chunk_index(end - 1);
            let mut position = chunk_range(*chunks.start(), complete_length).start;
            prop_assert!(position <= first);
            for index in chunks {
                let range = chunk_range(index, complete_length);
                prop_assert_eq!(range.start, position, "no hole, no overlap");
                prop_assert!(range.start < end && first < range.end, "it holds some of the range");
                prop_assert!(range.end - range.start == C || range.end == complete_length);
                prop_assert_eq!((range.start % C, chunk_index(range.end - 1)), (0, index));
                position = range.end;
            }
            prop_assert!(end <= position);
        }

        #[test]
        fn reading_ahead_is_of_the_next_chunk_within_the_range_or_of_none(
            (begun_at, position, range_end) in (position(), position(), position()),
        ) {
            let (half, next) = (C / 2, position / C + 1);
            let read = position.checked_sub(begun_at).is_some_and(|read| read >= half);
            let in_second_half = position - position / C * C >= half;
            let begins_within = next.checked_mul(C).is_some_and(|begin| begin < range_end);
            let expected = (read && in_second_half && begins_within).then_some(next);
            prop_assert_eq!(read_ahead(begun_at, position, range_end), expected);
        }
    }
}
