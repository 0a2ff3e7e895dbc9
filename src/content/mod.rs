//! Which bytes: opens an object, plans chunks, and streams them through the cache with one fetch per window.
//!
//! Knows no person: what it is handed is a `ResolvedObject`, which only a `Permit` makes.

use std::time::Duration;

use crate::backend::BackendError;
use crate::ids::StorageId;

/// The `[cache]` section's part that this room wants; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentConfig {
    /// How long metadata is believed without asking storage: a changed object is noticed after at most this long.
    pub metadata_max_age: Duration,
}

/// Why there are no bytes. `serve::error` chooses the status.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ContentError {
    /// Storage said no, or nothing.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The storage is of a kind that this version does not serve.
    #[error("storage {0} is of a kind that this version does not serve")]
    NotServed(StorageId),
    /// The storage cannot make URLs, and its delivery is `redirect`.
    #[error("storage {0} cannot presign")]
    CannotPresign(StorageId),
}
