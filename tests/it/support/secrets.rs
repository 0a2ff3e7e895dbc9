//! What may stand in no output: every token that a test mints, the secrets of its configuration, what signs a URL.
//!
//! Each gateway's and each process's output is searched when it ends, whatever the test was about.

use std::path::Path;
use std::sync::Mutex;

use super::token::SECRET;

/// Parts of secrets, from which the whole could be had or used.
static MINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers a token's signature: what stands before it is no secret, and what a forged one lacks cannot be found.
pub fn remember(token: &str) {
    let signature = token.rsplit('.').next().unwrap_or_default();
    if signature.len() >= 32 {
        let mut minted = MINTED.lock().expect("no test panicked here");
        minted.push(signature.to_owned());
    }
}

/// Fails the test where a file among these holds a secret.
pub fn assert_none_in(directory: &Path, names: &[&str]) {
    // One failure is enough, and a second panic would hide it.
    if std::thread::panicking() {
        return;
    }
    for name in names {
        let bytes = std::fs::read(directory.join(name)).unwrap_or_default();
        assert_none_in_text(name, &String::from_utf8_lossy(&bytes));
    }
}

/// Fails the test where this text holds a secret.
pub fn assert_none_in_text(name: &str, text: &str) {
    let minted = MINTED.lock().expect("no test panicked here").clone();
    let signatures = ["X-Amz-Signature=", "X-Goog-Signature=", "X-Amz-Credential="];
    let secrets = minted.iter().map(String::as_str);
    for secret in secrets
        .chain(signatures)
        .chain([SECRET, super::store::SECRET])
    {
        if let Some(at) = text.find(secret) {
            let line = text[..at].lines().count();
            panic!("{name} holds the secret {secret:?} in line {line}");
        }
    }
}
