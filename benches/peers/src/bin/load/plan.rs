//! What is to be asked: read from JSON, and turned into the requests, one after another.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Failure;
use peers::Object;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub address: SocketAddr,
    /// The certificate to trust; none: no TLS.
    pub tls: Option<PathBuf>,
    pub connections: usize,
    /// For how long requests are begun.
    pub seconds: f64,
    /// How many at most.
    pub count: Option<u64>,
    /// What stands before the object in the target.
    pub route: String,
    /// Whether the object is a URI in URL-safe base64.
    #[serde(default)]
    pub base64: bool,
    /// The object, with `{n}` in the place of its number.
    pub object: String,
    /// How many objects there are.
    pub objects: u64,
    /// The first one's number.
    #[serde(default)]
    pub first: u64,
    /// Objects, and ranges within them, one after another instead of at random.
    #[serde(default)]
    pub in_order: bool,
    /// Seeds what is at random.
    #[serde(default)]
    pub seed: u64,
    /// The length of each range; none: whole objects.
    pub range: Option<u64>,
    /// Where ranges may begin: its multiples (the range's own length, if none).
    pub align: Option<u64>,
    /// `bytes=N-`, as players ask.
    #[serde(default)]
    pub open: bool,
    /// A file of bearer tokens, one a line. Every request takes the next one.
    pub tokens: Option<PathBuf>,
    /// Every object is asked for once before, and then with its entity tag.
    #[serde(default)]
    pub if_none_match: bool,
    /// After so many bytes of a body the connection is closed.
    pub drop_after: Option<u64>,
    /// Bytes a second that a connection reads.
    pub rate: Option<f64>,
    /// `SO_RCVBUF`.
    pub receive_buffer: Option<u32>,
    /// The status that is right.
    pub status: u16,
    /// Whether bodies are compared.
    #[serde(default)]
    pub compare: bool,
}

/// One request, and what is needed to judge its answer.
pub struct Asked {
    pub head: Vec<u8>,
    pub object: Object,
    /// The first byte that is asked for.
    pub position: u64,
    /// How many.
    pub length: u64,
}

/// Makes requests of a plan.
pub struct Requests {
    plan: Plan,
    tokens: Vec<String>,
    random: Cell<u64>,
    made: Cell<u64>,
}

impl Requests {
    pub fn new(plan: Plan) -> Result<Self, Failure> {
        let tokens = match &plan.tokens {
            Some(file) => std::fs::read_to_string(file)?
                .lines()
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        let random = Cell::new(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Ok(Self {
            plan,
            tokens,
            random,
            made: Cell::new(0),
        })
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The next one; `None`: there were enough. `etag` gives what is known of an object.
    pub fn next(&self, etag: impl FnOnce(u64) -> Option<String>) -> Result<Option<Asked>, Failure> {
        let plan = &self.plan;
        let made = self.made.get();
        if plan.count.is_some_and(|count| made >= count) {
            return Ok(None);
        }
        self.made.set(made + 1);
        let ranges = match plan.range {
            Some(_) => self.object(plan.first)?.1.length.div_ceil(self.align()),
            None => 1,
        };
        let (number, nth) = if plan.in_order {
            (plan.first + made / ranges % plan.objects, made % ranges)
        } else {
            (plan.first + self.below(plan.objects), self.below(ranges))
        };
        self.ask(number, nth * self.align(), made, etag(number))
            .map(Some)
    }

    /// The whole of an object, without conditions.
    pub fn whole(&self, number: u64) -> Result<Asked, Failure> {
        self.ask(number, 0, number, None)
    }

    fn align(&self) -> u64 {
        self.plan.align.or(self.plan.range).unwrap_or(1)
    }

    fn object(&self, number: u64) -> Result<(String, Object), Failure> {
        let text = self.plan.object.replace("{n}", &number.to_string());
        let object = Object::at(&text).ok_or("not an object's name")?;
        Ok((text, object))
    }

    fn ask(
        &self,
        number: u64,
        position: u64,
        turn: u64,
        etag: Option<String>,
    ) -> Result<Asked, Failure> {
        let plan = &self.plan;
        let (text, object) = self.object(number)?;
        let text = if plan.base64 {
            URL_SAFE_NO_PAD.encode(text)
        } else {
            text
        };
        let mut head = format!(
            "GET {}{text} HTTP/1.1\r\nHost: {}\r\n",
            plan.route, plan.address
        );
        if !self.tokens.is_empty() {
            let token = &self.tokens[(turn % self.tokens.len() as u64) as usize];
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        let left = object.length - position;
        let length = match plan.range {
            None => left,
            Some(_) if plan.open => {
                head.push_str(&format!("Range: bytes={position}-\r\n"));
                left
            }
            Some(range) => {
                let length = range.min(left);
                head.push_str(&format!(
                    "Range: bytes={position}-{}\r\n",
                    position + length - 1
                ));
                length
            }
        };
        if let Some(etag) = etag {
            head.push_str(&format!("If-None-Match: {etag}\r\n"));
        }
        head.push_str("\r\n");
        Ok(Asked {
            head: head.into_bytes(),
            object,
            position,
            length,
        })
    }

    /// xorshift64*: the same requests for each server.
    fn below(&self, limit: u64) -> u64 {
        let mut state = self.random.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.random.set(state);
        let drawn = state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(drawn) * u128::from(limit)) >> 64) as u64
    }
}
