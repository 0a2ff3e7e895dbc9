//! JSON byte by byte (RFC 8259): where strings, scalars and containers begin and end, and whether it is JSON at all.
//!
//! Keeps no byte of what it reads but a scalar's; never recurses; knows nothing of tasks. What a string says, and
//! whether it is UTF-8, is for whoever takes it out.

use serde::de::IgnoredAny;

/// How deep containers may nest. Label Studio's own answers nest some ten deep; serde_json reads 128.
pub(super) const MAX_DEPTH: usize = 256;

/// The longest scalar in bytes. Python, which wrote it, refuses integers of more than 4,300 digits.
const MAX_SCALAR: usize = 8 << 10;

/// What a byte means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is part of something.
    Nothing,
    /// It opens a container, which is counted in [`Lexer::depth`] already.
    Open(Container),
    /// It closes a container, which is not counted any more.
    Close,
    /// It opens the name of a member.
    NameBegins,
    /// It closes that name.
    NameEnds,
    /// It opens a string that is a value.
    StringBegins,
    /// It closes that string.
    StringEnds,
    /// It is the first of a number, `true`, `false` or `null`.
    ScalarBegins,
}

/// What holds values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Array,
    Object,
}

/// It is not JSON, or nests too deep to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    Colon,
    CommaOrEnd,
    /// White space: the document is whole.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    String { is_name: bool, escape: Escape },
    Scalar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind a backslash.
    Begun,
    /// So many hexadecimal digits are still to come.
    Digits(u8),
}

/// The state between two bytes.
pub(super) struct Lexer {
    open: Vec<Container>,
    expect: Expect,
    token: Token,
    scalar: Vec<u8>,
}

impl Lexer {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            expect: Expect::Value,
            token: Token::None,
            scalar: Vec::new(),
        }
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The scalar that this next byte, which has no other part in it, ends. To be asked before [`Lexer::step`].
    pub(super) fn scalar_ended_by(&mut self, byte: u8) -> Result<Option<&[u8]>, Malformed> {
        if self.token != Token::Scalar || is_of_scalar(byte) {
            return Ok(None);
        }
        self.value_ended();
        let known = serde_json::from_slice::<IgnoredAny>(&self.scalar);
        known.map_err(|_| Malformed)?;
        Ok(Some(&self.scalar))
    }

    /// Takes the next byte.
    pub(super) fn step(&mut self, byte: u8) -> Result<Event, Malformed> {
        match self.token {
            Token::String { is_name, escape } => self.in_string(byte, is_name, escape),
            Token::Scalar => self.in_scalar(byte),
            Token::None if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(Event::Nothing),
            Token::None => self.between_tokens(byte),
        }
    }

    fn between_tokens(&mut self, byte: u8) -> Result<Event, Malformed> {
        use Expect::{Colon, CommaOrEnd, Name, NameOrEnd, Value, ValueOrEnd};
        match (self.expect, byte) {
            (Value | ValueOrEnd, b'{') => self.opened(Container::Object, NameOrEnd),
            (Value | ValueOrEnd, b'[') => self.opened(Container::Array, ValueOrEnd),
            (Value | ValueOrEnd, b'"') => Ok(self.string_begins(false, Event::StringBegins)),
            (Value | ValueOrEnd, _) if is_of_scalar(byte) => {
                self.token = Token::Scalar;
                self.scalar.clear();
                self.scalar.push(byte);
                Ok(Event::ScalarBegins)
            }
            (Name | NameOrEnd, b'"') => Ok(self.string_begins(true, Event::NameBegins)),
            (NameOrEnd | CommaOrEnd, b'}') => self.closed(Container::Object),
            (ValueOrEnd | CommaOrEnd, b']') => self.closed(Container::Array),
            (Colon, b':') => {
                self.expect = Value;
                Ok(Event::Nothing)
            }
            (CommaOrEnd, b',') => {
                let in_object = self.open.last() == Some(&Container::Object);
                self.expect = if in_object { Name } else { Value };
                Ok(Event::Nothing)
            }
            _ => Err(Malformed),
        }
    }

    fn in_string(&mut self, byte: u8, is_name: bool, escape: Escape) -> Result<Event, Malformed> {
        let escape = match (escape, byte) {
            (Escape::None, b'"') if is_name => {
                self.token = Token::None;
                self.expect = Expect::Colon;
                return Ok(Event::NameEnds);
            }
            (Escape::None, b'"') => {
                self.value_ended();
                return Ok(Event::StringEnds);
            }
            (Escape::None, b'\\') => Escape::Begun,
            (Escape::None, 0x20..) => Escape::None,
            (Escape::Begun, b'u') => Escape::Digits(4),
            (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Escape::None,
            (Escape::Digits(1), _) if byte.is_ascii_hexdigit() => Escape::None,
            (Escape::Digits(left), _) if byte.is_ascii_hexdigit() => Escape::Digits(left - 1),
            _ => return Err(Malformed),
        };
        self.token = Token::String { is_name, escape };
        Ok(Event::Nothing)
    }

    fn in_scalar(&mut self, byte: u8) -> Result<Event, Malformed> {
        if self.scalar.len() == MAX_SCALAR {
            return Err(Malformed);
        }
        self.scalar.push(byte);
        Ok(Event::Nothing)
    }

    fn string_begins(&mut self, is_name: bool, event: Event) -> Event {
        let escape = Escape::None;
        self.token = Token::String { is_name, escape };
        event
    }

    fn opened(&mut self, container: Container, expect: Expect) -> Result<Event, Malformed> {
        if self.open.len() == MAX_DEPTH {
            return Err(Malformed);
        }
        self.open.push(container);
        self.expect = expect;
        Ok(Event::Open(container))
    }

    fn closed(&mut self, container: Container) -> Result<Event, Malformed> {
        if self.open.pop() != Some(container) {
            return Err(Malformed);
        }
        self.value_ended();
        Ok(Event::Close)
    }

    fn value_ended(&mut self) {
        self.token = Token::None;
        self.expect = match self.open.is_empty() {
            true => Expect::Nothing,
            false => Expect::CommaOrEnd,
        };
    }
}

/// The letters of numbers, `true`, `false` and `null`, in whatever order: what they make is checked at their end.
fn is_of_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
