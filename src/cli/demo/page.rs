//! The demo's one page: itself, with nothing from anywhere else.

/// HTML with its style and script inside.
pub(super) const HTML: &str = include_str!("page.html");

/// The page loads nothing but from where it came, and nobody may frame it.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
     style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self'; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
