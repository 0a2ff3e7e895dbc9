//! Tokens verified with an issuer's key set: selection, rotation, refetching, failures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm::{ES256, ES384, EdDSA, HS256, RS256};
use serde_json::json;

use super::*;
use crate::auth::jwks::{Jwks, Timing};
use crate::auth::keys::KeySet;
use crate::auth::{Identify, Keys};

const NEVER: Duration = Duration::from_secs(3600);
/// Asks again only when it must, and then as often as it must.
const ON_DEMAND: Timing = Timing {
    refresh: NEVER,
    retry: NEVER,
    refetch: Duration::ZERO,
};

fn authenticator(issuer: &Issuer, timing: Timing) -> Authenticator {
    let config = AuthConfig {
        jwks_url: Some(issuer.url.clone()),
        ..config(&[EdDSA, RS256, HS256])
    };
    Authenticator::with_timing(config, timing).unwrap()
}

fn jwks(auth: &Authenticator) -> &Jwks {
    match &auth.keys {
        Keys::Fetched(jwks) => jwks,
        Keys::Configured(_) => panic!("keys are not fetched"),
    }
}

fn ed() -> Signer {
    Signer::new(&rcgen::PKCS_ED25519)
}

#[tokio::test]
async fn a_token_is_verified_with_the_key_that_its_kid_names() {
    let (one, two) = (ed(), ed());
    let issuer = Issuer::start(&[one.jwk(EdDSA, "1"), two.jwk(EdDSA, "2")]).await;
    let auth = authenticator(&issuer, Timing::default());
    for (signer, kid, expected) in [
        (&one, "1", None),
        (&two, "2", None),
        (&one, "2", Some("signature")),
        (&one, "3", Some("unknown key")),
        (&one, "", Some("unknown key")),
    ] {
        let answer = bearer(&auth, &signer.token(EdDSA, kid), now()).await;
        assert_eq!(reason(answer), expected, "{kid}");
    }
}

#[tokio::test]
async fn a_token_without_kid_is_verified_only_where_one_key_fits() {
    let one = ed();
    let issuer = Issuer::start(&[one.jwk(EdDSA, "1"), RSA.jwk(RS256, "r")]).await;
    let auth = authenticator(&issuer, ON_DEMAND);
    let claims = claims().to_string();
    let token = sign(r#"{"alg":"EdDSA"}"#, &claims, &one.key(EdDSA), EdDSA);
    assert!(bearer(&auth, &token, now()).await.is_ok());

    issuer.publish(&[one.jwk(EdDSA, "1"), ed().jwk(EdDSA, "2")]);
    let unknown = one.token(EdDSA, "3");
    assert!(bearer(&auth, &unknown, now()).await.is_err());
    let answer = bearer(&auth, &token, now()).await;
    assert_eq!(reason(answer), Some("no kid, and several keys would fit"));
}

/// Every kind that an issuer may publish, and an algorithm of each.
fn every_kind() -> [(&'static Signer, Algorithm); 4] {
    [
        (&*RSA, RS256),
        (&*P256, ES256),
        (&*P384, ES384),
        (&*ED, EdDSA),
    ]
}

#[tokio::test]
async fn keys_of_every_kind_are_taken_from_a_key_set() {
    let published = every_kind().map(|(signer, algorithm)| signer.jwk(algorithm, "1"));
    let issuer = Issuer::start(&published).await;
    let config = AuthConfig {
        jwks_url: Some(issuer.url.clone()),
        ..config(&every_kind().map(|(_, algorithm)| algorithm))
    };
    let auth = Authenticator::new(config).unwrap();
    for (signer, algorithm) in every_kind() {
        let answer = bearer(&auth, &signer.token(algorithm, "1"), now()).await;
        assert!(answer.is_ok(), "{algorithm:?}");
    }
}

#[test]
fn keys_that_are_broken_or_too_short_are_not() {
    let allowed = every_kind().map(|(_, algorithm)| algorithm);
    let usable = |keys: &[Value]| {
        let document = json!({ "keys": keys }).to_string();
        KeySet::fetched(vec![], document.as_bytes(), &allowed)
            .unwrap()
            .len()
    };
    let [rsa, p256, p384, ed] = every_kind().map(|(signer, algorithm)| signer.jwk(algorithm, "1"));
    assert_eq!(
        usable(&[rsa.clone(), p256.clone(), p384.clone(), ed.clone()]),
        4
    );
    let with = |key: &Value, member: &str, value: Vec<u8>| {
        let mut key = key.clone();
        key[member] = URL_SAFE_NO_PAD.encode(value).into();
        key
    };
    let bytes = |key: &Value, member: &str| {
        let text = key[member].as_str().unwrap();
        URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let modulus = bytes(&rsa, "n");
    let padded = [vec![0; 128], modulus[128..].to_vec()].concat();
    let off_the_curve = |key: &Value| with(key, "y", bytes(key, "x"));
    for broken in [
        with(&rsa, "n", modulus[128..].to_vec()),
        with(&rsa, "n", padded),
        off_the_curve(&p256),
        off_the_curve(&p384),
        with(&ed, "x", bytes(&ed, "x")[1..].to_vec()),
    ] {
        assert_eq!(usable(std::slice::from_ref(&broken)), 0, "{broken}");
    }
}

#[tokio::test]
async fn keys_that_are_not_for_us_are_ignored() {
    let with = |name: &str, value: serde_json::Value| {
        let mut jwk = ED.jwk(EdDSA, name);
        jwk[name] = value;
        jwk
    };
    let secret = json!({"kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "HS256"});
    let issuer = Issuer::start(&[
        secret,
        json!("nonsense"),
        json!({"kty": "RSA", "kid": "r", "n": "AQ", "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA"}),
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("RS256")),
        with("crv", json!("X25519")),
        json!({"kty": "new", "kid": "new"}),
        ED.jwk(EdDSA, "good"),
    ])
    .await;
    let auth = authenticator(&issuer, Timing::default());
    assert!(bearer(&auth, &ED.token(EdDSA, "good"), now()).await.is_ok());
    assert_eq!(auth.current_keys().len(), 1);

    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let header = r#"{"alg":"HS256","kid":"oct"}"#;
    let token = sign(header, &claims().to_string(), &key, HS256);
    let answer = bearer(&auth, &token, now()).await;
    assert_eq!(reason(answer), Some("unknown key"));
    assert_eq!(issuer.requests(), 1);
}

#[tokio::test]
async fn fifty_requests_with_an_unknown_kid_cause_one_refetch() {
    let (old, new) = (ed(), ed());
    let issuer = Issuer::start(&[old.jwk(EdDSA, "old")]).await;
    let auth = authenticator(&issuer, Timing::default());
    assert!(bearer(&auth, &old.token(EdDSA, "old"), now()).await.is_ok());

    issuer.publish(&[new.jwk(EdDSA, "new")]);
    let token = new.token(EdDSA, "new");
    let answers = join_all((0..50).map(|_| bearer(&auth, &token, now()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(issuer.requests(), 2);

    for kid in ["a", "b", "c"] {
        let answer = bearer(&auth, &old.token(EdDSA, kid), now()).await;
        assert_eq!(reason(answer), Some("unknown key"));
    }
    assert_eq!(issuer.requests(), 2, "a second refetch came too soon");
}

#[tokio::test]
async fn keys_rotate_without_a_gap_and_a_withdrawn_one_forgets_its_tokens() {
    let (old, new) = (ed(), ed());
    let (old_token, new_token) = (old.token(EdDSA, "old"), new.token(EdDSA, "new"));
    let issuer = Issuer::start(&[old.jwk(EdDSA, "old")]).await;
    let auth = authenticator(&issuer, ON_DEMAND);
    assert!(bearer(&auth, &old_token, now()).await.is_ok());

    issuer.publish(&[old.jwk(EdDSA, "old"), new.jwk(EdDSA, "new")]);
    let both = (0..20).map(|i| if i % 2 == 0 { &old_token } else { &new_token });
    let answers = join_all(both.map(|token| bearer(&auth, token, now()))).await;
    assert!(answers.iter().all(Result::is_ok));

    issuer.publish(&[new.jwk(EdDSA, "new")]);
    assert!(bearer(&auth, &new.token(EdDSA, "?"), now()).await.is_err());
    assert!(bearer(&auth, &new_token, now()).await.is_ok());
    let answer = bearer(&auth, &old_token, now()).await;
    assert_eq!(reason(answer), Some("unknown key"));
}

#[tokio::test]
async fn the_key_set_is_refreshed_unasked_and_a_failure_keeps_the_old_keys() {
    let soon = Timing {
        refresh: Duration::from_millis(1),
        retry: Duration::from_millis(1),
        refetch: NEVER,
    };
    let issuer = Issuer::start(&[ED.jwk(EdDSA, "1")]).await;
    let auth = authenticator(&issuer, soon);
    let token = ED.token(EdDSA, "1");
    assert!(bearer(&auth, &token, now()).await.is_ok());
    let failures = [
        (StatusCode::INTERNAL_SERVER_ERROR, "{\"keys\":[]}".into()),
        (StatusCode::OK, "<html>".into()),
        (StatusCode::OK, "{\"error\":\"down\"}".into()),
        (
            StatusCode::OK,
            "{\"keys\":[]}".to_owned() + &" ".repeat(300_000),
        ),
    ];
    for (status, body) in failures {
        issuer.answer(status, "", body);
        jwks(&auth).more_fetches(2).await;
        assert!(auth.ready());
        assert!(bearer(&auth, &token, now()).await.is_ok());
    }
    issuer.publish(&[]);
    jwks(&auth).more_fetches(2).await;
    let answer = bearer(&auth, &token, now()).await;
    assert!(reason(answer).is_some(), "an empty set withdraws every key");
}

#[tokio::test]
async fn without_any_keys_yet_nobody_is_judged() {
    let issuer = Issuer::start(&[]).await;
    issuer.answer(StatusCode::SERVICE_UNAVAILABLE, "", "");
    let auth = authenticator(&issuer, ON_DEMAND);
    let token = ED.token(EdDSA, "1");
    let answer = bearer(&auth, &token, now()).await;
    assert!(matches!(answer, Err(AuthError::NoKeys)));
    assert!(!auth.ready() && !Identify::ready(&auth));

    issuer.publish(&[ED.jwk(EdDSA, "1")]);
    assert!(bearer(&auth, &token, now()).await.is_ok());
    assert!(auth.ready() && Identify::ready(&auth));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Issuer::start(&[ED.jwk(EdDSA, "1")]).await;
    let issuer = Issuer::start(&[]).await;
    issuer.answer(StatusCode::FOUND, elsewhere.url.as_str(), "");
    let auth = authenticator(&issuer, Timing::default());
    let answer = bearer(&auth, &ED.token(EdDSA, "1"), now()).await;
    assert!(matches!(answer, Err(AuthError::NoKeys)));
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_secret_serves_beside_a_key_set_that_is_still_to_come() {
    let issuer = Issuer::start(&[]).await;
    issuer.answer(StatusCode::SERVICE_UNAVAILABLE, "", "");
    let config = AuthConfig {
        jwks_url: Some(issuer.url.clone()),
        hmac_secret: Some(Secret::new(SECRET)),
        ..config(&[HS256, EdDSA])
    };
    let auth = Authenticator::new(config).unwrap();
    let token = hs256(&claims().to_string());
    assert!(bearer(&auth, &token, now()).await.is_ok());
    auth.loaded().await;
    assert!(!auth.ready());
    assert_eq!(issuer.requests(), 1, "a secret is nothing to ask for");
}

#[tokio::test]
async fn a_secret_is_not_looked_for_in_a_key_set() {
    let issuer = Issuer::start(&[]).await;
    issuer.answer(StatusCode::SERVICE_UNAVAILABLE, "", "");
    let auth = authenticator(&issuer, ON_DEMAND);
    let answer = bearer(&auth, &hs256(&claims().to_string()), now()).await;
    assert_eq!(reason(answer), Some("unknown key"));
}

#[tokio::test]
async fn the_refresher_ends_with_its_authenticator() {
    let issuer = Issuer::start(&[]).await;
    let auth = authenticator(&issuer, Timing::default());
    let ended = jwks(&auth).ended();
    drop(auth);
    ended.await;
}
