//! Secrets: a string that never shows itself, and where it was said to come from.
//!
//! Ground: imports nothing of the house. `Debug` prints `REDACTED`; there is no `Display`.

use std::fmt;
use std::sync::Arc;

/// A secret in memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<Arc<str>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for the one line that signs or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}
