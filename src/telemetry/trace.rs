//! The trace that a request belongs to: W3C Trace Context's `traceparent`, taken up and passed on.
//!
//! Follows <https://www.w3.org/TR/trace-context/> §3.2, version 00. What is broken is replaced, never repaired.

use std::fmt;

use crate::ids::Hex;

/// The flags that version 00 and its level 2 define: sampled, random.
const KNOWN_FLAGS: u8 = 0b11;

/// A trace and the span in it. Ids are never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// Takes up the caller's trace, or begins one where `traceparent` is absent or broken. The span is a new one.
    pub fn take_up(traceparent: Option<&str>) -> Self {
        traceparent
            .and_then(parse)
            .map_or_else(Self::random, |caller| caller.child())
    }

    /// Begins a trace.
    pub fn random() -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            span_id: fastrand::u64(1..),
            flags: 0,
        }
    }

    /// A new span of the same trace.
    pub fn child(&self) -> Self {
        Self {
            span_id: fastrand::u64(1..),
            ..*self
        }
    }

    /// The trace's id as it is written: 32 lower hexadecimal digits.
    pub fn trace_id(&self) -> TraceId {
        TraceId(self.trace_id)
    }

    /// The value of `traceparent` for a request made on behalf of this span.
    pub fn header_value(&self) -> String {
        format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        )
    }
}

/// A trace's id, written as 32 lower hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Hex::of(self.0).as_str())
    }
}

impl serde::Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Hex::of(self.0).as_str())
    }
}

fn parse(traceparent: &str) -> Option<TraceContext> {
    let mut fields = traceparent.split('-');
    let mut field = |digits: usize| {
        let field = fields.next()?;
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (field.len() == digits && field.bytes().all(lower_hex)).then_some(field)
    };
    let version = field(2)?;
    let trace_id = u128::from_str_radix(field(32)?, 16).ok()?;
    let span_id = u64::from_str_radix(field(16)?, 16).ok()?;
    let flags = u8::from_str_radix(field(2)?, 16).ok()? & KNOWN_FLAGS;
    let whole = version == "00" && trace_id != 0 && span_id != 0 && fields.next().is_none();
    whole.then_some(TraceContext {
        trace_id,
        span_id,
        flags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_callers_trace_is_taken_up_in_a_new_span() {
        let taken = TraceContext::take_up(Some(&format!("00-{TRACE}-00f067aa0ba902b7-01")));
        assert_eq!(taken.trace_id().to_string(), TRACE);
        let value = taken.header_value();
        assert!(value.starts_with(&format!("00-{TRACE}-")) && value.ends_with("-01"));
        assert!(!value.contains("00f067aa0ba902b7"));
    }

    #[test]
    fn a_child_keeps_the_trace_and_has_its_own_span() {
        let parent = TraceContext::random();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.header_value(), parent.header_value());
    }

    #[test]
    fn what_is_broken_is_replaced() {
        for broken in [
            "".to_owned(),
            "00".to_owned(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("01-{TRACE}-00f067aa0ba902b7-01"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7-"),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!(" 00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902bé-01"),
        ] {
            let taken = TraceContext::take_up(Some(&broken));
            assert_ne!(taken.trace_id().to_string(), TRACE, "{broken} was taken up");
            assert!(parse(&taken.header_value()).is_some());
        }
    }
}
