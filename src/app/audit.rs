//! Says in the audit log which files decide who may see what, each time one of them is read: its name, its digest,
//! and whether it is in force. Never says what stands in them.

use std::fmt::Write;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

use crate::telemetry::AuditLog;

/// A file was read; `taken`: it is in force.
pub(super) async fn was_read(audit: &AuditLog, file: &Path, taken: bool) {
    if !audit.is_on() {
        return;
    }
    let path = file.to_owned();
    let digest = tokio::task::spawn_blocking(move || sha256(&path)).await;
    let digest = digest.ok().flatten();
    audit.configuration(file.display().to_string(), digest, taken);
}

fn sha256(file: &Path) -> Option<String> {
    let bytes = std::fs::read(file).ok()?;
    let mut text = String::new();
    for byte in digest(&SHA256, &bytes).as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}
