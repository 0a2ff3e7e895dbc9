//! Sizes and durations as a configuration writes them: `8MiB`, `30s`. A number without a unit is refused, but for 0.

use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A size in bytes, written `8MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A duration, written `30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// In milliseconds. `ms` stands before `s` and `m`, which end or begin it.
const DURATIONS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a size, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, SIZES).ok_or_else(|| {
        format!(
            "{text:?} is not a size: a whole number and one of B, KB, MB, GB, TB, KiB, MiB, GiB, TiB, like \"8MiB\""
        )
    })
}

/// Reads a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let milliseconds = parse(text, DURATIONS).ok_or_else(|| {
        format!(
            "{text:?} is not a duration: a whole number and one of ms, s, m, h, d, like \"30s\""
        )
    })?;
    Ok(Duration::from_millis(milliseconds))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(parse_size)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = Quantity(parse_duration);
        deserializer.deserialize_any(visitor).map(Self)
    }
}

struct Quantity<T>(fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a quantity with its unit, in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        // "5" alone could be seconds or milliseconds, bytes or megabytes: the parser says which units there are.
        (self.0)(&number.to_string()).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_and_its_unit() {
        for (written, read) in [
            ("8MiB", Some(8 << 20)),
            ("512MiB", Some(512 << 20)),
            ("200GiB", Some(200 << 30)),
            ("1KB", Some(1000)),
            ("7 B", Some(7)),
            ("0", Some(0)),
            ("8", None),
            ("8M", None),
            ("8mib", None),
            ("1.5GiB", None),
            ("-1B", None),
            ("MiB", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_size(written).ok(), read, "{written}");
        }
    }

    #[test]
    fn a_duration_is_a_whole_number_and_its_unit() {
        for (written, milliseconds) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(604_800_000)),
            ("0", Some(0)),
            ("30", None),
            ("30sec", None),
            ("", None),
            ("s", None),
            ("8MiB", None),
        ] {
            let expected = milliseconds.map(Duration::from_millis);
            assert_eq!(parse_duration(written).ok(), expected, "{written}");
        }
    }
}
