//! Task JSON as it passes: bytes in, the same bytes out, but for the media URIs in a task's `data`.
//!
//! Label Studio's answers name a task's id before its data, so that a string of the data is held until its end and no
//! longer. Where the data comes first, the task is held from its first URI until its id. Linear in time, bounded in
//! space, and the same however the bytes are cut.

use std::ops::Range;

use bytes::Bytes;

use super::Shape;
use super::lexer::{Container, Event, Lexer, Malformed};
use super::literal::with_media_routes;

/// How much of a task is held back, in bytes: a string of its data, or all from the first URI to the id. Label Studio
/// refuses tasks longer than 2.5 MB by default; what is longer passes as it is.
pub const MAX_HELD: usize = 8 << 20;

/// The longest name that matters, each of its letters written `\u0064`, in bytes.
const MAX_NAME: usize = 32;

/// The name of the member that is being read, as far as it matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Id,
    Data,
    Tasks,
    Other,
}

/// The task that is being read.
struct Task {
    /// At which depth its members stand.
    depth: usize,
    /// The first member `id` that is a whole number.
    id: Option<u64>,
    /// At which depth the members or items of its data stand, while they are being read.
    data: Option<usize>,
    /// Too much of it had to be held without an id.
    given_up: bool,
}

/// What is held back.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where the string that is being read begins in them.
    string: Option<usize>,
    /// The strings that wait for the task's id.
    waiting: Vec<Range<usize>>,
}

impl Held {
    fn is_holding(&self) -> bool {
        self.string.is_some() || !self.waiting.is_empty()
    }

    /// Lets everything go as it came.
    fn let_go(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.bytes);
        self.string = None;
        self.waiting.clear();
    }

    /// Lets everything go, with the strings that waited rewritten.
    fn let_go_rewritten(&mut self, task: u64, out: &mut Vec<u8>) {
        let mut copied = 0;
        for literal in self.waiting.drain(..) {
            out.extend_from_slice(&self.bytes[copied..literal.start]);
            copied = literal.end;
            let literal = &self.bytes[literal];
            let rewritten = with_media_routes(literal, task);
            out.extend_from_slice(rewritten.as_deref().unwrap_or(literal));
        }
        out.extend_from_slice(&self.bytes[copied..]);
        self.bytes.clear();
    }
}

/// The rewriting of one answer.
pub struct TaskJson {
    shape: Shape,
    lexer: Lexer,
    passing: bool,
    warned: bool,
    name: Name,
    /// The name as it is written, while it is being read and may matter.
    written_name: Option<Vec<u8>>,
    /// At which depth the list of tasks was opened, while it is being read.
    list: Option<usize>,
    task: Option<Task>,
    held: Held,
}

impl TaskJson {
    /// For an answer of this shape.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            lexer: Lexer::new(),
            passing: false,
            warned: false,
            name: Name::Other,
            written_name: None,
            list: None,
            task: None,
            held: Held::default(),
        }
    }

    /// Takes the next piece; what can be handed on now, which may be nothing, or more than the piece.
    pub fn feed(&mut self, piece: Bytes) -> Bytes {
        if self.passing {
            return piece;
        }
        let mut out = Vec::new();
        // Up to here the piece is handed on, or held.
        let mut done = 0;
        for (at, &byte) in piece.iter().enumerate() {
            let Ok(event) = self.step(byte, &mut out) else {
                self.passing = true;
                self.held.let_go(&mut out);
                break;
            };
            if event == Event::StringBegins && self.may_be_rewritten() {
                if !self.held.is_holding() {
                    out.extend_from_slice(&piece[done..at]);
                }
                self.held.string = Some(self.held.bytes.len());
            }
            if self.held.is_holding() {
                self.held.bytes.push(byte);
                done = at + 1;
                self.held_one_more(event, &mut out);
            }
        }
        if out.is_empty() && done == 0 {
            return piece;
        }
        out.extend_from_slice(&piece[done..]);
        out.into()
    }

    /// The end: what was held of a document that is not whole.
    pub fn finish(&mut self) -> Bytes {
        self.passing = true;
        let mut out = Vec::new();
        self.held.let_go(&mut out);
        out.into()
    }

    /// Reads a byte, and keeps account of where it stands.
    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<Event, Malformed> {
        if let Some(scalar) = self.lexer.scalar_ended_by(byte)?
            && self.name == Name::Id
            && let Some(task) = &mut self.task
            && task.id.is_none()
            && let Some(id) = whole_number(scalar)
            && self.lexer.depth() == task.depth
        {
            task.id = Some(id);
            self.held.let_go_rewritten(id, out);
        }
        let event = self.lexer.step(byte)?;
        match event {
            Event::Open(container) => self.opened(container),
            Event::Close => self.closed(),
            Event::NameBegins => self.name_begins(),
            Event::NameEnds => self.name_ends(),
            Event::StringBegins | Event::StringEnds | Event::ScalarBegins => {}
            Event::Nothing => {
                if let Some(name) = &mut self.written_name {
                    name.push(byte);
                    if name.len() > MAX_NAME {
                        self.written_name = None;
                    }
                }
            }
        }
        Ok(event)
    }

    fn opened(&mut self, container: Container) {
        let depth = self.lexer.depth();
        let tasks_depth = match self.shape {
            Shape::Task => Some(1),
            Shape::List => self.list.map(|depth| depth + 1),
        };
        match (container, &mut self.task) {
            (_, Some(task)) => {
                if task.depth + 1 == depth && self.name == Name::Data {
                    task.data = Some(depth);
                }
            }
            (Container::Object, None) if tasks_depth == Some(depth) => {
                self.task = Some(Task {
                    depth,
                    id: None,
                    data: None,
                    given_up: false,
                });
            }
            // A page of tasks, or all of them in an array.
            (Container::Array, None) if self.shape == Shape::List && self.list.is_none() => {
                if depth == 1 || depth == 2 && self.name == Name::Tasks {
                    self.list = Some(depth);
                }
            }
            (Container::Object | Container::Array, None) => {}
        }
    }

    fn closed(&mut self) {
        let closed = Some(self.lexer.depth() + 1);
        if self.list == closed {
            self.list = None;
        }
        if let Some(task) = &mut self.task {
            if task.data == closed {
                task.data = None;
            }
            if Some(task.depth) == closed {
                self.task = None;
            }
        }
    }

    fn name_begins(&mut self) {
        let depth = self.lexer.depth();
        let of_task = self.task.as_ref().is_some_and(|task| task.depth == depth);
        let of_page = self.shape == Shape::List && depth == 1;
        self.name = Name::Other;
        self.written_name = (of_task || of_page).then(|| vec![b'"']);
    }

    fn name_ends(&mut self) {
        let Some(mut written) = self.written_name.take() else {
            return;
        };
        written.push(b'"');
        self.name = match serde_json::from_slice::<String>(&written).as_deref() {
            Ok("id") => Name::Id,
            Ok("data") => Name::Data,
            Ok("tasks") => Name::Tasks,
            Ok(_) | Err(_) => Name::Other,
        };
    }

    /// Whether the string that begins here is of a task's data.
    fn may_be_rewritten(&self) -> bool {
        self.task.as_ref().is_some_and(|task| {
            let is_data = task.depth == self.lexer.depth() && self.name == Name::Data;
            !task.given_up && (is_data || task.data.is_some())
        })
    }

    fn held_one_more(&mut self, event: Event, out: &mut Vec<u8>) {
        if event == Event::StringEnds
            && let Some(begin) = self.held.string.take()
        {
            let id = self.task.as_ref().and_then(|task| task.id);
            let literal = &self.held.bytes[begin..];
            // Whether it is to be rewritten does not depend on the id.
            if id.is_some() || with_media_routes(literal, 0).is_some() {
                self.held.waiting.push(begin..self.held.bytes.len());
            }
            match id {
                Some(id) => self.held.let_go_rewritten(id, out),
                None if self.held.waiting.is_empty() => self.held.let_go(out),
                None => {}
            }
        }
        if self.task.is_none() {
            self.held.let_go(out);
        }
        if self.held.bytes.len() > MAX_HELD {
            self.give_up(out);
        }
    }

    /// A string that is too long passes as it is, and so does the rest of a task whose id is too late.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.held.let_go(out);
        if let Some(task) = &mut self.task {
            task.given_up = task.id.is_none();
        }
        if !self.warned {
            self.warned = true;
            tracing::warn!(
                bytes = MAX_HELD,
                "task json is longer than is held back: media uris in it stay as they are"
            );
        }
    }
}

/// Label Studio's ids: digits alone.
fn whole_number(scalar: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(scalar).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}
