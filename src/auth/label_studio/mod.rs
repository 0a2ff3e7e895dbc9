//! Who is it, where Label Studio judges: what a caller presents, who Label Studio says that is, its session cookie as
//! Django reads it, and sessions that have ended.
//!
//! Verifies nothing, for only Label Studio has the key: a credential becomes somebody by being shown to it. Keeps no
//! credential in clear longer than its caller's request and what was remembered of it; `Debug` never shows one.

pub mod cookie;
mod identity;
mod presented;
pub mod sessions;

use std::path::PathBuf;

use url::Url;

pub use identity::LabelStudioIdentity;
pub use presented::Presented;
pub use sessions::{SessionKey, Sessions};

/// How Label Studio is reached (`access.label_studio`); `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelStudioConfig {
    /// Its base, as a client in front of it would write it; a path before its routes is kept.
    pub url: Url,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}
