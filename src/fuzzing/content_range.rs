//! `Content-Range` and the rest of a 206's head, as a store may write it: believed only where it is what was asked for.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{lines, number};
use crate::backend::http::{content_range as read, partial_content};

/// What was asked for (first and end, half-open), the field, and the rest of the head: a field a line.
pub fn content_range(input: &[u8]) {
    let [first, end, field, rest] = lines(input);
    if let Ok(field) = std::str::from_utf8(field) {
        is_canonical(field);
    }
    let Ok(field) = HeaderValue::from_bytes(field) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.append(header::CONTENT_RANGE, field);
    for line in rest.split(|byte| *byte == b'\n').take(8) {
        let [name, value] = halves(line);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    let first = number(first, 0);
    is_what_was_asked_for(
        &headers,
        first,
        number(end, 10).max(first.saturating_add(1)),
    );
}

fn halves(line: &[u8]) -> [&[u8]; 2] {
    let mut halves = line.splitn(2, |byte| *byte == b':');
    std::array::from_fn(|_| halves.next().unwrap_or_default().trim_ascii())
}

/// RFC 9110 §14.4: what is read is what is written, zeros before a number and the unit's case aside; and whatever is
/// written so is read.
fn is_canonical(field: &str) {
    let read = read(field);
    let written = read.as_ref().map(|(range, complete_length)| {
        assert!(range.start < range.end && range.end <= *complete_length);
        format!("{}-{}/{complete_length}", range.start, range.end - 1)
    });
    let modelled = field
        .get(..6)
        .filter(|unit| unit.eq_ignore_ascii_case("bytes "))
        .and_then(|_| numbers(&field[6..]))
        .filter(|[first, last, complete_length]| first <= last && last < complete_length)
        .map(|[first, last, complete_length]| format!("{first}-{last}/{complete_length}"));
    assert_eq!(written, modelled);
}

/// The three numbers of `0-9/10`; `None` where one is no number of 64 bits.
fn numbers(text: &str) -> Option<[u128; 3]> {
    let mut numbers = [None; 3];
    let mut at = 0;
    for c in text.chars() {
        match (c, at) {
            ('-', 0) | ('/', 1) => at += 1,
            ('0'..='9', _) => {
                let so_far: u128 = numbers[at].unwrap_or(0);
                numbers[at] = Some(
                    so_far
                        .saturating_mul(10)
                        .saturating_add(u128::from(c as u8 - b'0')),
                );
            }
            _ => return None,
        }
    }
    let [Some(first), Some(last), Some(complete_length)] = numbers else {
        return None;
    };
    let fits = |number: &u128| *number <= u128::from(u64::MAX);
    let numbers = [first, last, complete_length];
    numbers.iter().all(fits).then_some(numbers)
}

/// A 206 that is taken is the very window asked for, cut at the object's end, of a version with a strong validator.
fn is_what_was_asked_for(headers: &HeaderMap, first: u64, end: u64) {
    let Ok((meta, range)) = partial_content(headers, &(first..end)) else {
        return;
    };
    assert_eq!(range, first..end.min(meta.complete_length));
    assert!(!range.is_empty());
    let etag = headers.get(header::ETAG).map(HeaderValue::as_bytes);
    let quoted = meta.etag.as_str().as_bytes();
    let bare = &quoted[1..quoted.len() - 1];
    assert!(etag.is_some_and(|etag| [quoted, bare].contains(&etag.trim_ascii())));
    // Two of them never come this far: HTTP's own parser refuses the answer.
    let lengths: Vec<_> = headers.get_all(header::CONTENT_LENGTH).iter().collect();
    if let [length] = lengths[..]
        && let Ok(length) = length.to_str().unwrap_or_default().parse::<u64>()
    {
        assert_eq!(length, range.end - range.start);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::is_canonical;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_content_range_is_read_as_it_is_written(
            unit in prop_oneof![Just("bytes "), Just("Bytes "), Just("bytes"), Just("bytes  ")],
            first in prop_oneof![0..20u64, any::<u64>()],
            last in prop_oneof![0..20u64, any::<u64>()],
            complete_length in prop_oneof![Just("*".to_owned()), (0..20u64).prop_map(|n| n.to_string()), "[0-9]{1,30}"],
        ) {
            is_canonical(&format!("{unit}{first}-{last}/{complete_length}"));
        }
    }
}
