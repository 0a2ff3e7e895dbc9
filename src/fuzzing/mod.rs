//! What strangers write, read by the real thing and held to a naive model, or to what must always be so.
//!
//! Built for the tests and for libFuzzer (`fuzz/`) alone, never into the gateway. A target panics where its promise is
//! broken; its input is text, so that a corpus can be read. The models follow the standards' own words, slowly, and
//! share no code with what they judge. docs/verification.md says how long each ran.

mod cache_record;
mod content_range;
mod credentials;
mod input;
mod media_uri;
mod mentions;
mod preconditions;
mod range;
mod task_json;
mod token;

pub use cache_record::cache_record;
pub use content_range::content_range;
pub use credentials::credentials;
pub use media_uri::media_uri;
pub use mentions::mentions;
pub use preconditions::preconditions;
pub use range::range;
pub use task_json::task_json;
pub use token::{token, token_claims};

use input::{lines, number};

/// Takes any input, and panics where a promise does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also its file's in `fuzz/fuzz_targets` and its corpus' in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 10] = [
    ("cache_record", cache_record),
    ("content_range", content_range),
    ("credentials", credentials),
    ("media_uri", media_uri),
    ("mentions", mentions),
    ("preconditions", preconditions),
    ("range", range),
    ("task_json", task_json),
    ("token", token),
    ("token_claims", token_claims),
];

#[cfg(test)]
mod tests;
