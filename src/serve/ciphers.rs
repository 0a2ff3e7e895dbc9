//! Which cipher a TLS connection gets (RFC 8446 §4.1.1).
//!
//! With AES in the processor AES-128-GCM goes first, as browsers have it: OpenSSL's clients name AES-256 first, which
//! costs a quarter more for each byte. Without, clients choose, as one that lacks it, too, names ChaCha20 first.

use std::sync::Arc;

use rustls::CipherSuite;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What goes first.
const FIRST: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// The ciphers, and whether their order is ours to say.
pub(super) fn provider() -> (Arc<CryptoProvider>, bool) {
    let mut provider = aws_lc_rs::default_provider();
    let suites = &mut provider.cipher_suites;
    suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    (Arc::new(provider), has_aes())
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tls::Tls;
    use crate::serve::tls::tests::Authority;

    #[tokio::test]
    async fn a_client_that_names_aes_256_first_gets_aes_128_where_the_processor_has_aes() {
        let authority = Authority::new();
        let tls = Tls::load(&authority.files()).unwrap();
        let stream = authority.connect(&tls, "localhost").await.unwrap();
        let suite = stream.get_ref().1.negotiated_cipher_suite().unwrap();
        // The client's order is rustls' own.
        let first = aws_lc_rs::DEFAULT_CIPHER_SUITES[0].suite();
        assert_eq!(first, CipherSuite::TLS13_AES_256_GCM_SHA384);
        let expected = if has_aes() { FIRST[0] } else { first };
        assert_eq!(suite.suite(), expected);
    }
}
