//! `lockgate token`: mints a token for development, from the configured secret or private key.
//!
//! Never serves: a gateway that verifies tokens needs no private key.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::CliError;
use crate::auth::{AuthConfig, is_name};
use crate::config::units::parse_duration;
use crate::media_uri::{MediaUri, MediaUriError};

/// The arguments of `lockgate token`.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// Whom it is for: the claim `sub`, as the access list's members have it.
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// A group of theirs; may be given several times.
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// How long it is valid, like 15m or 8h.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    expires: Duration,
    /// Limit it to this task.
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Limit it to this media.
    #[arg(long)]
    uri: Option<String>,
    /// Print JSON: the token, whom it is for and when it ends.
    #[arg(long)]
    json: bool,
}

/// Prints a token for development, and nothing else.
///
/// # Errors
/// The configuration's mistakes, or [`MintError`].
pub fn run(config: &Path, args: &TokenArgs) -> Result<ExitCode, CliError> {
    let auth = super::load(config)?.config.auth;
    let auth = auth.ok_or_else(|| {
        CliError::Usage(
            "there is no [auth] to mint for: Label Studio issues its own credentials".into(),
        )
    })?;
    let scope = TokenScope {
        task: args.task.as_deref(),
        uri: args.uri.as_deref(),
    };
    let (subject, groups) = (&args.subject, &args.groups);
    let now = SystemTime::now();
    let token = mint(&auth, subject, groups, args.expires, scope, now)?;
    if !args.json {
        super::print(&format!("{token}\n"));
        return Ok(ExitCode::SUCCESS);
    }
    let expires_at = now.duration_since(UNIX_EPOCH).unwrap_or_default() + args.expires;
    super::print_json(&json!({
        "token": token,
        "subject": subject,
        "groups": groups,
        "expires_at": expires_at.as_secs(),
    }));
    Ok(ExitCode::SUCCESS)
}

/// The one task or media that a token is to be limited to; nothing for an ordinary token.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenScope<'a> {
    /// The claim `task`.
    pub task: Option<&'a str>,
    /// The claim `uri`.
    pub uri: Option<&'a str>,
}

/// Why no token was minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Neither `hmac_secret` nor `private_key` is configured, or neither fits an algorithm listed.
    #[error(
        "no key to sign with: set auth.jwt.hmac_secret or auth.jwt.private_key (pkcs #8 in pem) for one of auth.jwt.algorithms"
    )]
    NoKey,
    /// The token would be refused for its `sub` or its `task`.
    #[error("the {0} is no name: 1 to 256 bytes without control characters")]
    Name(&'static str),
    /// The token would be refused for its `uri`.
    #[error("the uri to limit the token to is not valid")]
    Uri(#[from] MediaUriError),
    /// Before 1970 or after what a clock can hold.
    #[error("the token's life is out of range")]
    Life,
    /// The signature could not be made.
    #[error("signing failed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A token for `subject` that is good for `life` from `now` on, signed with the first algorithm of the
/// configuration that the secret or the private key fits.
///
/// # Errors
/// [`MintError`].
pub fn mint(
    config: &AuthConfig,
    subject: &str,
    groups: &[String],
    life: Duration,
    scope: TokenScope<'_>,
    now: SystemTime,
) -> Result<String, MintError> {
    let named = [("subject", Some(subject)), ("task", scope.task)];
    for (what, name) in named {
        if name.is_some_and(|name| !is_name(name)) {
            return Err(MintError::Name(what));
        }
    }
    let issued_at = now
        .duration_since(UNIX_EPOCH)
        .map_err(|_| MintError::Life)?;
    let expires_at = issued_at.checked_add(life).ok_or(MintError::Life)?;
    let mut claims = Map::new();
    claims.insert("iss".into(), config.issuer.as_str().into());
    claims.insert("aud".into(), config.audience.as_str().into());
    claims.insert("sub".into(), subject.into());
    claims.insert("iat".into(), issued_at.as_secs().into());
    claims.insert("exp".into(), expires_at.as_secs().into());
    if !groups.is_empty() {
        claims.insert(config.groups_claim.clone(), groups.into());
    }
    if let Some(task) = scope.task {
        claims.insert("task".into(), task.into());
    }
    if let Some(uri) = scope.uri {
        MediaUri::parse(uri)?;
        claims.insert("uri".into(), uri.into());
    }
    sign(config, &claims)
}

fn sign(config: &AuthConfig, claims: &Map<String, Value>) -> Result<String, MintError> {
    let mut failed = MintError::NoKey;
    for algorithm in &config.algorithms {
        let Some(key) = signing_key(config, *algorithm) else {
            continue;
        };
        // A P-256 key is of ES384's family and does not fit it: the next algorithm may be its own.
        match jsonwebtoken::encode(&Header::new(*algorithm), claims, &key) {
            Ok(token) => return Ok(token),
            Err(error) => failed = MintError::Sign(error),
        }
    }
    Err(failed)
}

fn signing_key(config: &AuthConfig, algorithm: Algorithm) -> Option<EncodingKey> {
    let pem = config
        .private_key
        .as_ref()
        .map(|pem| pem.expose().as_bytes());
    match algorithm.family() {
        AlgorithmFamily::Hmac => {
            let secret = config.hmac_secret.as_ref()?;
            Some(EncodingKey::from_secret(secret.expose().as_bytes()))
        }
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem?).ok(),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem?).ok(),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem?).ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, HS256, RS256};
    use rcgen::{KeyPair, SignatureAlgorithm};

    use super::*;
    use crate::auth::{Authenticator, Credentials};
    use crate::secret::Secret;

    const LIFE: Duration = Duration::from_secs(60);
    const SECRET: &str = "a secret that is long enough for HS256";

    fn config(algorithms: &[Algorithm], key: Option<&'static SignatureAlgorithm>) -> AuthConfig {
        let pair = key.map(|algorithm| KeyPair::generate_for(algorithm).unwrap());
        AuthConfig {
            issuer: "https://issuer.test".into(),
            audience: "lockgate".into(),
            algorithms: algorithms.to_vec(),
            hmac_secret: key.is_none().then(|| Secret::new(SECRET)),
            public_key: pair.as_ref().map(|pair| Secret::new(pair.public_key_pem())),
            private_key: pair.as_ref().map(|pair| Secret::new(pair.serialize_pem())),
            jwks_url: None,
            leeway: Duration::ZERO,
            groups_claim: "teams".into(),
            query_token: true,
            secure_cookie: None,
        }
    }

    #[tokio::test]
    async fn a_minted_token_is_accepted_with_the_first_algorithm_that_the_key_fits() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let scope = TokenScope {
            task: Some("7"),
            uri: Some("s3://bucket/key"),
        };
        for (algorithms, key, expected) in [
            (&[HS256][..], None, HS256),
            (&[ES256, RS256], Some(&rcgen::PKCS_RSA_SHA256), RS256),
            (
                &[RS256, ES384, ES256],
                Some(&rcgen::PKCS_ECDSA_P256_SHA256),
                ES256,
            ),
            (&[HS256, EdDSA], Some(&rcgen::PKCS_ED25519), EdDSA),
        ] {
            let config = config(algorithms, key);
            let token = mint(&config, "anna", &["a".into()], LIFE, scope, now).unwrap();
            assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, expected);
            let credentials = Credentials {
                query: Some(&token),
                ..Credentials::default()
            };
            let auth = Authenticator::new(config).unwrap();
            let annotator = auth.authenticate(credentials, now).await.unwrap();
            assert_eq!(annotator.subject.as_str(), "anna");
            assert_eq!(annotator.groups, ["a"].map(std::sync::Arc::<str>::from));
            assert_eq!(annotator.expires_at, now + LIFE);
        }
    }

    #[test]
    fn what_would_be_refused_is_not_minted() {
        let none = TokenScope::default();
        let mint = |config: &AuthConfig, subject, scope| {
            mint(config, subject, &[], LIFE, scope, UNIX_EPOCH).unwrap_err()
        };
        let hmac = config(&[HS256], None);
        let long = "x".repeat(257);
        for name in ["", "a\nb", &long] {
            let subject = mint(&hmac, name, none);
            assert!(matches!(subject, MintError::Name("subject")), "{name:?}");
            let task = Some(name);
            let task = mint(&hmac, "anna", TokenScope { task, ..none });
            assert!(matches!(task, MintError::Name("task")), "{name:?}");
        }
        let bad = TokenScope {
            uri: Some("nonsense"),
            ..none
        };
        assert!(matches!(mint(&hmac, "anna", bad), MintError::Uri(_)));
        let unsigned = config(&[RS256], None);
        assert!(matches!(mint(&unsigned, "anna", none), MintError::NoKey));
        let misfit = config(&[ES384], Some(&rcgen::PKCS_ECDSA_P256_SHA256));
        assert!(matches!(mint(&misfit, "anna", none), MintError::Sign(_)));
    }
}
