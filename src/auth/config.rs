//! The `[auth]` section as this room wants it, and what can be wrong with it.
//!
//! Never reads a file or the environment: `config` does, and says where each key was written.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use url::Url;

use super::keys::Key;
use super::token::is_hmac;
use crate::secret::Secret;

/// The most that clocks may be said to differ (contract §3): a token is never good for longer than that past
/// its `exp`.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// RFC 7518 §3.2 wants a secret no shorter than the hash; a shorter one can be guessed from one token.
const RECOMMENDED_SECRET_BYTES: usize = 32;

/// The `[auth]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// `iss` that tokens must have.
    pub issuer: String,
    /// `aud` that tokens must have (among theirs).
    pub audience: String,
    /// The only algorithms accepted.
    pub algorithms: Vec<Algorithm>,
    /// HS256/384/512 secret.
    pub hmac_secret: Option<Secret>,
    /// A public key (or certificate's key) in PEM.
    pub public_key: Option<Secret>,
    /// A private key in PEM: for `lockgate token` alone, never needed to serve.
    pub private_key: Option<Secret>,
    /// Where the issuer's key set is.
    pub jwks_url: Option<Url>,
    /// How far clocks may differ, at most 60 s (contract §3).
    pub leeway: Duration,
    /// The claim that lists the annotator's groups.
    pub groups_claim: String,
    /// Whether `?token=` is honoured on GET and HEAD.
    pub query_token: bool,
    /// Whether browsers reach the site over TLS, here or at a proxy in front, so that the session cookie is `Secure`;
    /// none: as it is listened here.
    pub secure_cookie: Option<bool>,
}

/// What is wrong with an [`AuthConfig`].
#[derive(Debug, thiserror::Error)]
pub enum AuthConfigError {
    /// `issuer` is empty: a token without a real `iss` would pass.
    #[error("issuer must not be empty")]
    Issuer,
    /// `audience` is empty.
    #[error("audience must not be empty")]
    Audience,
    /// `algorithms` is empty.
    #[error("algorithms must name at least one algorithm, such as \"ES256\"")]
    NoAlgorithms,
    /// `leeway` is over [`MAX_LEEWAY`].
    #[error("leeway must be at most 60s")]
    Leeway,
    /// Nothing to verify with.
    #[error("one of hmac_secret, public_key and jwks_url is needed to verify tokens")]
    NoKey,
    /// `public_key` and `jwks_url` both: which of them decides would be a guess.
    #[error("public_key and jwks_url exclude each other")]
    TwoKeySources,
    /// The key under this name fits none of `algorithms`.
    #[error("{0} fits none of the algorithms listed")]
    Unused(&'static str),
    /// `hmac_secret` is empty, or is a PEM file, which is no secret where it holds a public key.
    #[error("hmac_secret must be a secret: not empty, and not a key in pem")]
    HmacSecret,
    /// `public_key` is no key that tokens can be verified with.
    #[error(
        "public_key must be a public key in pem: rsa of at least 2048 bits, p-256, p-384 or ed25519"
    )]
    PublicKey,
    /// `jwks_url` cannot be fetched by its form.
    #[error("jwks_url must be an http or https url")]
    JwksUrl,
    /// The machine's certificate authorities could not be loaded for an `https` `jwks_url`.
    #[error("no certificate authorities to check jwks_url's server with")]
    Roots(#[source] std::io::Error),
}

impl AuthConfigError {
    /// The key of the section that has to change, so that `config` can say on which line it is.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NoAlgorithms => "algorithms",
            Self::Leeway => "leeway",
            Self::NoKey | Self::HmacSecret => "hmac_secret",
            Self::TwoKeySources | Self::PublicKey => "public_key",
            Self::Unused(key) => key,
            Self::JwksUrl | Self::Roots(_) => "jwks_url",
        }
    }
}

impl AuthConfig {
    /// Whether this can be run with, without fetching anything: for `config` and `lockgate check`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), AuthConfigError> {
        self.check().map(drop)
    }

    /// The same, and the keys that the configuration itself holds.
    pub(super) fn check(&self) -> Result<Vec<Key>, AuthConfigError> {
        if self.issuer.is_empty() {
            return Err(AuthConfigError::Issuer);
        }
        if self.audience.is_empty() {
            return Err(AuthConfigError::Audience);
        }
        if self.algorithms.is_empty() {
            return Err(AuthConfigError::NoAlgorithms);
        }
        if self.leeway > MAX_LEEWAY {
            return Err(AuthConfigError::Leeway);
        }
        if self.public_key.is_some() && self.jwks_url.is_some() {
            return Err(AuthConfigError::TwoKeySources);
        }
        self.check_jwks_url()?;
        let mut keys = Vec::new();
        if let Some(secret) = &self.hmac_secret {
            keys.push(Key::from_secret(secret.expose(), &self.algorithms)?);
        }
        if let Some(pem) = &self.public_key {
            keys.push(Key::from_public_pem(pem.expose(), &self.algorithms)?);
        }
        if keys.is_empty() && self.jwks_url.is_none() {
            return Err(AuthConfigError::NoKey);
        }
        Ok(keys)
    }

    pub(super) fn warn_of_a_short_secret(&self) {
        let secret_bytes = self.hmac_secret.as_ref().map(|it| it.expose().len());
        if secret_bytes.is_some_and(|bytes| bytes < RECOMMENDED_SECRET_BYTES) {
            tracing::warn!(
                "hmac_secret is shorter than {RECOMMENDED_SECRET_BYTES} bytes: it could be guessed from a token"
            );
        }
    }

    fn check_jwks_url(&self) -> Result<(), AuthConfigError> {
        let Some(url) = &self.jwks_url else {
            return Ok(());
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AuthConfigError::JwksUrl);
        }
        match self.algorithms.iter().all(|algorithm| is_hmac(*algorithm)) {
            true => Err(AuthConfigError::Unused("jwks_url")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use jsonwebtoken::Algorithm::{ES384, EdDSA, HS256, RS256};

    use super::*;
    use crate::auth::tests::{ED, P256, RSA, SECRET, config};

    #[test]
    fn each_mistake_names_the_key_to_change() {
        let secret = || Some(Secret::new(SECRET));
        let pem = |pem: &str| Some(Secret::new(pem));
        let url = |url: &str| Some(url.parse::<Url>().unwrap());
        let good = || AuthConfig {
            hmac_secret: secret(),
            ..config(&[HS256])
        };
        assert!(good().validate().is_ok());
        let most = AuthConfig {
            leeway: MAX_LEEWAY,
            ..good()
        };
        assert!(most.validate().is_ok());
        #[rustfmt::skip]
        let table = [
            (AuthConfig { issuer: "".into(), ..good() }, "issuer"),
            (AuthConfig { audience: "".into(), ..good() }, "audience"),
            (AuthConfig { algorithms: vec![], ..good() }, "algorithms"),
            (AuthConfig { leeway: Duration::from_secs(61), ..good() }, "leeway"),
            (config(&[HS256]), "hmac_secret"),
            (AuthConfig { hmac_secret: pem(""), ..good() }, "hmac_secret"),
            (AuthConfig { hmac_secret: pem(&RSA.public_pem), ..good() }, "hmac_secret"),
            (AuthConfig { hmac_secret: secret(), ..config(&[RS256]) }, "hmac_secret"),
            (AuthConfig { public_key: pem("nonsense"), ..config(&[RS256]) }, "public_key"),
            (AuthConfig { public_key: pem(&RSA.private_pem), ..config(&[RS256]) }, "public_key"),
            (AuthConfig { public_key: pem(&ED.public_pem), ..config(&[RS256]) }, "public_key"),
            (AuthConfig { public_key: pem(&P256.public_pem), ..config(&[ES384]) }, "public_key"),
            (AuthConfig { public_key: pem(SHORT_RSA), ..config(&[RS256]) }, "public_key"),
            (AuthConfig { jwks_url: url("file:///k"), ..config(&[EdDSA]) }, "jwks_url"),
            (AuthConfig { jwks_url: url("http://h/k"), ..config(&[HS256]) }, "jwks_url"),
            (
                AuthConfig {
                    public_key: pem(&ED.public_pem),
                    jwks_url: url("http://h/k"),
                    ..config(&[EdDSA])
                },
                "public_key",
            ),
        ];
        for (config, key) in table {
            let error = config.validate().unwrap_err();
            assert_eq!(error.key(), key, "{error}");
            assert!(error.to_string().contains(error.key()), "{error}");
        }
    }

    #[test]
    fn a_certificate_gives_its_key() {
        for algorithm in [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["issuer.test".into()]).unwrap();
            let pem = params.self_signed(&pair).unwrap().pem();
            let config = AuthConfig {
                public_key: Some(Secret::new(pem)),
                ..config(&[RS256, Algorithm::ES256])
            };
            assert!(config.validate().is_ok());
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let config = AuthConfig {
            hmac_secret: Some(Secret::new(SECRET)),
            ..config(&[HS256])
        };
        assert!(!format!("{config:?}").contains(SECRET));
    }

    /// 1,024 bits.
    const SHORT_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7Xl/Od6xDlOvNYapt4QNklhsP
9AYsarT2AO2RJ3Z8ChrgDuzQcpJamoauCfVAOhis8I1CxP+ngc8EvP7vh8orEqJr
oBN6lS75NuY2BYqN3NtakcBHI9yR8P+gr1mIoRBbfPX8h4j8bvFNJ1YUhaOb+TCy
bEhrgdIrMzIghXVKCQIDAQAB
-----END PUBLIC KEY-----
";
}
