//! Keys that tokens are verified with: from a secret, from a PEM file, from an issuer's key set (RFC 7517).
//!
//! Pure: fetches nothing. A key knows the algorithms that it may verify, those of its own type and curve that
//! the configuration lists, and is never tried with another: a public key is no HMAC secret (RFC 8725 §2.1).

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;

use super::AuthConfigError;

/// A modulus of 2048 bits, the least that RFC 7518 §3.3 allows.
const MIN_RSA_MODULUS_BYTES: usize = 256;

/// One key, and what it is for.
#[derive(Clone)]
pub(super) struct Key {
    name: KeyName,
    /// What it may verify: never empty.
    algorithms: Vec<Algorithm>,
    /// The key itself.
    pub(super) decoding: DecodingKey,
}

/// Which tokens may ask for a key.
#[derive(Clone)]
enum KeyName {
    /// Configured here: whatever `kid` the issuer writes.
    Any,
    /// Of a key set: tokens that say this `kid`, or none.
    Kid(Option<String>),
}

impl Key {
    /// The secret of HS256, HS384 and HS512.
    pub(super) fn from_secret(
        secret: &str,
        allowed: &[Algorithm],
    ) -> Result<Self, AuthConfigError> {
        if secret.is_empty() || secret.trim_start().starts_with("-----BEGIN") {
            return Err(AuthConfigError::HmacSecret);
        }
        let algorithms = fitting(AlgorithmFamily::Hmac.algorithms(), allowed);
        Self::configured(
            algorithms,
            DecodingKey::from_secret(secret.as_bytes()),
            "hmac_secret",
        )
    }

    /// A public key, or a certificate's, in PEM.
    pub(super) fn from_public_pem(
        pem: &str,
        allowed: &[Algorithm],
    ) -> Result<Self, AuthConfigError> {
        if pem.contains("PRIVATE KEY") {
            return Err(AuthConfigError::PublicKey);
        }
        let pem = pem.as_bytes();
        let decoding = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| AuthConfigError::PublicKey)?;
        let algorithms = verifiable(&decoding).ok_or(AuthConfigError::PublicKey)?;
        Self::configured(fitting(algorithms, allowed), decoding, "public_key")
    }

    fn configured(
        algorithms: Vec<Algorithm>,
        decoding: DecodingKey,
        config_key: &'static str,
    ) -> Result<Self, AuthConfigError> {
        if algorithms.is_empty() {
            return Err(AuthConfigError::Unused(config_key));
        }
        Ok(Self {
            name: KeyName::Any,
            algorithms,
            decoding,
        })
    }

    /// A key of a key set; `None` for a secret, for one that is not for verifying signatures, and for one
    /// that is not understood (RFC 7517 §5: such keys are ignored).
    fn from_jwk(jwk: &Jwk, allowed: &[Algorithm]) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures =
            !matches!(&common.public_key_use, Some(usage) if *usage != PublicKeyUse::Signature);
        let for_verifying =
            !matches!(&common.key_operations, Some(ops) if !ops.contains(&KeyOperations::Verify));
        let curve_fits = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(params) => {
                matches!(params.curve, EllipticCurve::P256 | EllipticCurve::P384)
            }
            AlgorithmParameters::OctetKeyPair(params) => params.curve == EllipticCurve::Ed25519,
            // A secret in a public document is none, and what is unknown cannot be used.
            _ => false,
        };
        if !(for_signatures && for_verifying && curve_fits) {
            return None;
        }
        let decoding = DecodingKey::from_jwk(jwk).ok()?;
        let mut algorithms = fitting(verifiable(&decoding)?, allowed);
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| Algorithm::try_from(only).is_ok_and(|a| a == *algorithm));
        }
        (!algorithms.is_empty()).then(|| Self {
            name: KeyName::Kid(common.key_id.clone()),
            algorithms,
            decoding,
        })
    }

    fn answers_to(&self, kid: &str) -> bool {
        match &self.name {
            KeyName::Any => true,
            KeyName::Kid(name) => name.as_deref() == Some(kid),
        }
    }
}

/// What a public key can verify, by its type and curve; `None` where it is broken or too weak.
fn verifiable(key: &DecodingKey) -> Option<&'static [Algorithm]> {
    const RSA: &[Algorithm] = &[
        Algorithm::RS256,
        Algorithm::RS384,
        Algorithm::RS512,
        Algorithm::PS256,
        Algorithm::PS384,
        Algorithm::PS512,
    ];
    let parses = |as_key: &'static dyn VerificationAlgorithm, bytes: &[u8]| {
        ParsedPublicKey::new(as_key, bytes).is_ok()
    };
    match (key.family(), key.kind()) {
        (AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let modulus_bytes = n.iter().skip_while(|byte| **byte == 0).count();
            let parsed =
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
            (modulus_bytes >= MIN_RSA_MODULUS_BYTES && parsed.is_ok()).then_some(RSA)
        }
        // The DER holds the modulus and little else, so that its length tells a key that is too short.
        (AlgorithmFamily::Rsa, DecodingKeyKind::SecretOrDer(der)) => {
            (der.len() > MIN_RSA_MODULUS_BYTES && parses(&RSA_PKCS1_2048_8192_SHA256, der))
                .then_some(RSA)
        }
        (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => match point.len() {
            65 if parses(&ECDSA_P256_SHA256_FIXED, point) => Some(&[Algorithm::ES256]),
            97 if parses(&ECDSA_P384_SHA384_FIXED, point) => Some(&[Algorithm::ES384]),
            _ => None,
        },
        (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => {
            (point.len() == 32 && parses(&ED25519, point)).then_some(&[Algorithm::EdDSA])
        }
        (AlgorithmFamily::Hmac, _) | (_, DecodingKeyKind::RsaModulusExponent { .. }) => None,
    }
}

fn fitting(verifiable: &[Algorithm], allowed: &[Algorithm]) -> Vec<Algorithm> {
    let allowed = |algorithm: &&Algorithm| allowed.contains(algorithm);
    verifiable.iter().filter(allowed).copied().collect()
}

/// The keys in force at one time.
pub(super) struct KeySet {
    keys: Vec<Key>,
    /// Differs wherever the keys do.
    pub(super) fingerprint: [u8; 32],
    /// False while the issuer's key set is still to come.
    pub(super) complete: bool,
}

/// What a token's `alg` and `kid` lead to.
pub(super) enum Selected<'a> {
    /// This key, to be tried and no other.
    Key(&'a Key),
    /// No key: a key set that was fetched again may have it.
    Unknown,
    /// The token names no `kid`, and more than one key would fit.
    Ambiguous,
}

impl KeySet {
    /// The configured keys alone.
    pub(super) fn configured(keys: Vec<Key>) -> Self {
        Self {
            keys,
            fingerprint: [0; 32],
            complete: true,
        }
    }

    /// The configured keys, until the issuer's are there.
    pub(super) fn awaiting(keys: Vec<Key>) -> Self {
        Self {
            complete: false,
            ..Self::configured(keys)
        }
    }

    /// The configured keys and those of a JWK Set document. A document without a usable key is taken at its
    /// word: the issuer has withdrawn them all.
    ///
    /// # Errors
    /// Where this is no JWK Set; a single key that is not understood is skipped.
    pub(super) fn fetched(
        mut keys: Vec<Key>,
        document: &[u8],
        allowed: &[Algorithm],
    ) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct JwkSet {
            keys: Vec<serde_json::Value>,
        }
        let set: JwkSet = serde_json::from_slice(document)?;
        let understood = set.keys.into_iter().filter_map(|key| {
            let jwk = serde_json::from_value::<Jwk>(key).ok()?;
            Key::from_jwk(&jwk, allowed)
        });
        keys.extend(understood);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, document).as_ref());
        Ok(Self {
            keys,
            fingerprint,
            complete: true,
        })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The one key for a token. With a `kid`, the first of that name that may verify `algorithm`. Without
    /// one, the only key that may verify it: keys are not tried in turn.
    pub(super) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Selected<'_> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.algorithms.contains(&algorithm));
        match kid {
            Some(kid) => match fitting.find(|key| key.answers_to(kid)) {
                Some(key) => Selected::Key(key),
                None => Selected::Unknown,
            },
            None => match (fitting.next(), fitting.next()) {
                (Some(only), None) => Selected::Key(only),
                (Some(_), Some(_)) => Selected::Ambiguous,
                (None, _) => Selected::Unknown,
            },
        }
    }
}
