//! `Range` against a model of RFC 9110 §14: which of an object's bytes are asked for, one by one.

use super::{lines, number};
use crate::range::RangeSpec;

/// As long as a field may be that is not ignored; RFC 9110 §14.2 lets a server ignore any.
const MAX_FIELD_LENGTH: usize = 256;

/// The object's length, the most bytes to answer with, and the field.
pub fn range(input: &[u8]) {
    let [complete_length, max, field] = lines(input);
    holds(field, number(complete_length, 10), number(max, 8 << 20));
}

/// What a field asks for, in numbers that no 128 bits bound.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Between(u128, u128),
    Last(u128),
}

impl Asked {
    /// Whether a byte is one of those asked for (§14.1.2).
    fn has(self, position: u64, complete_length: u64) -> bool {
        let (position, complete_length) = (u128::from(position), u128::from(complete_length));
        let there = position < complete_length;
        there
            && match self {
                Self::Between(first, last) => first <= position && position <= last,
                Self::Last(count) => complete_length - position <= count,
            }
    }

    /// §14.1.2: "a first-pos that is less than the current length", "a suffix-range with a non-zero suffix-length".
    fn is_satisfiable(self, complete_length: u64) -> bool {
        match self {
            Self::Between(first, _) => first < u128::from(complete_length),
            Self::Last(count) => count > 0,
        }
    }
}

/// §14.1.1 and §5.6.1.2, letter by letter: `Some` where it is one range of bytes.
fn asked(field: &[u8]) -> Option<Asked> {
    let lower = field.to_ascii_lowercase();
    let set = lower.strip_prefix(b"bytes=")?;
    if set.first().is_some_and(|b| matches!(b, b' ' | b'\t')) || field.len() > MAX_FIELD_LENGTH {
        return None;
    }
    let mut asked = None;
    for element in set.split(|b| *b == b',') {
        let mut element = element.to_vec();
        while element.first().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            element.remove(0);
        }
        while element.last().is_some_and(|b| matches!(b, b' ' | b'\t')) {
            element.pop();
        }
        if element.is_empty() {
            continue;
        }
        if asked.is_some() {
            return None;
        }
        asked = Some(spec(&element)?);
    }
    asked
}

fn spec(element: &[u8]) -> Option<Asked> {
    let dash = element.iter().position(|b| *b == b'-')?;
    let (first, last) = (&element[..dash], &element[dash + 1..]);
    match (first, last) {
        ([], last) => Some(Asked::Last(decimal(last)?)),
        (first, []) => Some(Asked::Between(decimal(first)?, u128::MAX)),
        (first, last) => {
            let (first, last) = (decimal(first)?, decimal(last)?);
            // Two that no object reaches are not told apart.
            let end = u128::from(u64::MAX);
            (first.min(end) <= last.min(end)).then_some(Asked::Between(first, last))
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u128> {
    let mut number = 0u128;
    for digit in digits {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number = number.saturating_mul(10).saturating_add(digit.into());
    }
    (!digits.is_empty()).then_some(number)
}

/// Panics where the answer to `field` is another than the model's.
pub(super) fn holds(field: &[u8], complete_length: u64, max: u64) {
    let (spec, asked) = (RangeSpec::parse(field), asked(field));
    assert_eq!(spec.is_some(), asked.is_some(), "one ignores it");
    let (Some(spec), Some(asked)) = (spec, asked) else {
        return;
    };
    let has = |position| asked.has(position, complete_length);
    let range = match spec.satisfy(complete_length) {
        Err(error) => {
            assert_eq!(error.complete_length, complete_length);
            return assert!(!asked.is_satisfiable(complete_length));
        }
        Ok(None) => return assert!(complete_length == 0 && asked.is_satisfiable(0)),
        Ok(Some(range)) => range,
    };
    assert!(asked.is_satisfiable(complete_length));
    let bytes = range.range();
    assert!(!bytes.is_empty() && bytes.end <= complete_length);
    // What is asked for has no holes, so that its bounds and their neighbours tell it; short objects are counted out.
    let edges = [bytes.start, bytes.end, complete_length, u64::MAX];
    let near = edges.map(|p| p.saturating_sub(1)).into_iter().chain(edges);
    for position in near.chain(0..complete_length.min(64)) {
        assert_eq!(bytes.contains(&position), has(position), "byte {position}");
    }
    let (first, last) = (bytes.start, bytes.end - 1);
    let written = format!("bytes {first}-{last}/{complete_length}");
    assert_eq!(range.content_range(), written, "§14.4");
    let cut = range.cut_to(max);
    assert_eq!(cut.first_pos(), bytes.start);
    assert_eq!(cut.len(), max.clamp(1, bytes.end - bytes.start));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::holds;

    /// Numbers about an object's bounds, and some that no integer holds; with zeros before them.
    fn written() -> impl Strategy<Value = String> {
        let number = prop_oneof![
            4 => (0..14u64).prop_map(|n| n.to_string()),
            1 => any::<u64>().prop_map(|n| n.to_string()),
            1 => Just("18446744073709551615".to_owned()),
            1 => "[0-9]{18,60}",
        ];
        (prop_oneof![3 => Just(""), 1 => Just("00")], number)
            .prop_map(|(zeros, number)| format!("{zeros}{number}"))
    }

    fn element() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => (written(), written()).prop_map(|(a, b)| format!("{a}-{b}")),
            2 => written().prop_map(|a| format!("{a}-")),
            2 => written().prop_map(|a| format!("-{a}")),
            1 => "[ \t]{0,2}",
            1 => "[0-9 +xa-]{0,4}",
        ]
    }

    fn field() -> impl Strategy<Value = String> {
        let unit = prop_oneof![6 => Just("bytes="), 1 => Just("BYTES="), 1 => Just("items="), 1 => Just("bytes")];
        let list = prop_oneof![
            4 => element(),
            1 => proptest::collection::vec(element(), 0..4).prop_map(|all| all.join(",")),
        ];
        (unit, list).prop_map(|(unit, list)| format!("{unit}{list}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_range_is_the_bytes_that_rfc_9110_says(
            field in field(),
            complete_length in prop_oneof![3 => 0..14u64, 1 => any::<u64>(), 1 => Just(u64::MAX)],
            max in prop_oneof![0..14u64, any::<u64>()],
        ) {
            holds(field.as_bytes(), complete_length, max);
        }

        #[test]
        fn no_field_is_read_otherwise_than_by_its_grammar(field in ".{0,24}", length in 0..20u64) {
            holds(field.as_bytes(), length, 1);
            holds(format!("bytes={field}").as_bytes(), length, 1);
        }
    }
}
