//! Who is it, where Label Studio judges: what a caller presents, and how Label Studio is reached.
//!
//! Verifies nothing itself and keeps no credential in clear longer than its caller's request and what was remembered
//! of it; `Debug` never shows one.

use std::fmt;
use std::path::PathBuf;

use http::HeaderMap;
use url::Url;

/// How Label Studio is reached (`access.label_studio`); `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelStudioConfig {
    /// Scheme, host and port.
    pub url: Url,
    /// A CA to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// What Label Studio is asked with: the caller's own credential, as they sent it. `Debug` prints `REDACTED`.
#[derive(Clone)]
pub struct Presented {
    /// The fields that are passed on, their values sensitive: `Cookie` reduced to Label Studio's session,
    /// `Authorization` of any scheme, `X-Api-Key`.
    pub fields: HeaderMap,
    /// Names the credential where something is remembered of it: two that have the same key are the same caller.
    pub key: [u8; 32],
}

impl PartialEq for Presented {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Presented {}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_presented_is_not_shown() {
        let mut fields = HeaderMap::new();
        fields.insert("x-api-key", "0b5e".parse().expect("a value"));
        let presented = Presented {
            fields,
            key: [7; 32],
        };
        assert_eq!(format!("{presented:?}"), "REDACTED");
    }
}
