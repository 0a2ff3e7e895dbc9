//! Which tokens are accepted and which are refused, with keys that the configuration holds.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::auth::token::{EXPIRED, MAX_TOKEN_BYTES};
use crate::ids::TaskId;
use crate::media_uri::MediaUri;

const ALL_BUT_HMAC: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

fn claims_with(claim: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims[claim] = value.into();
    claims.to_string()
}

fn claims_without(claim: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim);
    claims.to_string()
}

fn with_header(header: &str) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign(header, &claims().to_string(), &key, Algorithm::HS256)
}

#[tokio::test]
async fn tokens_with_these_claims_are_refused() {
    let table = [
        (claims_with("iss", "https://issuer.test/"), "issuer"),
        (claims_with("iss", json!(["https://issuer.test"])), "issuer"),
        (claims_without("iss"), "issuer"),
        (claims_with("aud", "lockgate2"), "audience"),
        (claims_with("aud", json!(["other"])), "audience"),
        (claims_with("aud", json!(["lockgate", 1])), "audience"),
        (claims_with("aud", json!([])), "audience"),
        (claims_without("aud"), "audience"),
        (claims_with("exp", NOW), "expired"),
        (claims_with("exp", 0), "expired"),
        (claims_without("exp"), "no exp"),
        (claims_with("exp", (NOW + 9).to_string()), "malformed date"),
        (claims_with("exp", -1), "malformed date"),
        (claims_with("exp", 1e300), "malformed date"),
        (claims_with("exp", u64::MAX), "malformed date"),
        (claims_with("exp", Value::Null), "malformed date"),
        (claims_with("nbf", NOW + 1), "not valid yet"),
        (claims_with("nbf", "soon"), "malformed date"),
        (claims_with("iat", "then"), "malformed date"),
        (claims_without("sub"), "subject"),
        (claims_with("sub", ""), "subject"),
        (claims_with("sub", 7), "subject"),
        (claims_with("sub", "anna\r\nbo"), "subject"),
        (claims_with("sub", "\u{85}"), "subject"),
        (claims_with("sub", "a".repeat(257)), "subject"),
        (claims_with("groups", 7), "malformed groups"),
        (claims_with("groups", json!(["a", 1])), "malformed groups"),
        (claims_with("groups", json!({})), "malformed groups"),
        (claims_with("task", ""), "malformed task"),
        (claims_with("task", 1.5), "malformed task"),
        (claims_with("task", -1), "malformed task"),
        (claims_with("task", json!([1])), "malformed task"),
        (claims_with("task", Value::Null), "malformed task"),
        (claims_with("uri", "nonsense"), "malformed uri"),
        (claims_with("uri", json!(["s3://b/k"])), "malformed uri"),
        ("[]".into(), "malformed claims"),
        ("".into(), "malformed claims"),
        ("{\"iss\":".into(), "malformed claims"),
        (claims().to_string() + "{}", "malformed claims"),
    ];
    let auth = with_secret();
    for (claims, expected) in table {
        let answer = bearer(&auth, &hs256(&claims), now()).await;
        assert_eq!(reason(answer), Some(expected), "{claims}");
    }
}

#[tokio::test]
async fn a_claim_that_occurs_twice_is_refused() {
    let claims = claims().to_string();
    for twice in [r#""sub":"bo""#, r#""exp":1"#, r#""other":1,"other":2"#] {
        let claims = claims.replacen('{', &format!("{{{twice},"), 1);
        let answer = bearer(&with_secret(), &hs256(&claims), now()).await;
        assert_eq!(reason(answer), Some("malformed claims"), "{claims}");
    }
}

#[tokio::test]
async fn tokens_with_these_headers_are_refused() {
    let table = [
        (r#"{"alg":"none"}"#, "algorithm not allowed"),
        (r#"{"alg":"None"}"#, "algorithm not allowed"),
        (r#"{"alg":"hs256"}"#, "algorithm not allowed"),
        (r#"{"alg":"HS384"}"#, "algorithm not allowed"),
        (r#"{"alg":"RS256"}"#, "algorithm not allowed"),
        (r#"{"alg":["HS256"]}"#, "algorithm not allowed"),
        (r#"{"typ":"JWT"}"#, "algorithm not allowed"),
        (r#"{"alg":"HS256","alg":"HS256"}"#, "malformed header"),
        (r#"{"alg":"none","alg":"HS256"}"#, "malformed header"),
        (r#"["HS256"]"#, "malformed header"),
        (
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            "critical header",
        ),
        (r#"{"alg":"HS256","crit":[]}"#, "critical header"),
        (r#"{"alg":"HS256","kid":1}"#, "malformed kid"),
    ];
    for (header, expected) in table {
        let answer = bearer(&with_secret(), &with_header(header), now()).await;
        assert_eq!(reason(answer), Some(expected), "{header}");
    }
}

#[tokio::test]
async fn what_is_no_signed_token_is_refused() {
    let token = hs256(&claims().to_string());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let table = [
        String::new(),
        "garbage".into(),
        "..".into(),
        "...".into(),
        "\u{1f511}.\u{1f511}.\u{1f511}".into(),
        message.into(),
        format!("{none}.{payload}."),
        format!("{message}."),
        format!("{message}.{signature}=="),
        format!("{message}.{}", &signature[1..]),
        format!("{message}.{signature}.{signature}"),
        format!("{message}.{signature}.{signature}.{signature}"),
        format!("{header}.{header}.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}=.{payload}.{signature}"),
        "a".repeat(9 * 1024),
        hs256(&claims_with("padding", "a".repeat(9 * 1024))),
    ];
    for token in table {
        let answer = bearer(&with_secret(), &token, now()).await;
        assert!(reason(answer).is_some(), "{token}");
    }
}

#[tokio::test]
async fn a_token_is_as_long_as_the_longest_and_no_longer() {
    // Base64 has no text of every length, so that the header takes its part.
    let of_length = |length: usize| {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let padded = |header: &str, padding: usize| {
            let claims = claims_with("padding", "a".repeat(padding));
            sign(header, &claims, &key, Algorithm::HS256)
        };
        let headers = [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256" }"#];
        let tokens = headers
            .iter()
            .flat_map(|header| (5_900..6_100).map(|padding| padded(header, padding)));
        tokens
            .into_iter()
            .find(|token| token.len() == length)
            .unwrap()
    };
    let answer = bearer(&with_secret(), &of_length(MAX_TOKEN_BYTES), now()).await;
    assert!(answer.is_ok());
    let answer = bearer(&with_secret(), &of_length(MAX_TOKEN_BYTES + 1), now()).await;
    assert_eq!(reason(answer), Some("too long"));
}

#[tokio::test]
async fn a_public_key_is_never_an_hmac_secret() {
    let claims = claims().to_string();
    for pem in [RSA.public_pem.clone(), RSA.public_pem.trim().to_owned()] {
        let auth = Authenticator::new(AuthConfig {
            public_key: Some(Secret::new(RSA.public_pem.as_str())),
            ..config(&[Algorithm::RS256, Algorithm::HS256])
        })
        .unwrap();
        let key = EncodingKey::from_secret(pem.as_bytes());
        let token = sign(r#"{"alg":"HS256"}"#, &claims, &key, Algorithm::HS256);
        let answer = bearer(&auth, &token, now()).await;
        assert_eq!(reason(answer), Some("unknown key"));
    }
}

#[tokio::test]
async fn a_key_that_a_token_brings_along_is_ignored() {
    let stranger = Signer::new(&rcgen::PKCS_ED25519);
    let auth = Authenticator::new(AuthConfig {
        public_key: Some(Secret::new(ED.public_pem.as_str())),
        ..config(&[Algorithm::EdDSA])
    })
    .unwrap();
    let header = json!({"alg": "EdDSA", "jwk": stranger.jwk(Algorithm::EdDSA, "k"),
        "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/", "x5c": ["AAAA"]})
    .to_string();
    let signed_by = |signer: &Signer| {
        let key = signer.key(Algorithm::EdDSA);
        let claims = claims().to_string();
        sign(&header, &claims, &key, Algorithm::EdDSA)
    };
    let answer = bearer(&auth, &signed_by(&stranger), now()).await;
    assert_eq!(reason(answer), Some("signature"));
    assert!(bearer(&auth, &signed_by(&ED), now()).await.is_ok());
}

#[tokio::test]
async fn every_algorithm_is_accepted_with_its_own_key_and_no_other() {
    let signers = [&RSA, &P256, &P384, &ED];
    for algorithm in ALL_BUT_HMAC {
        let own: &Signer = match algorithm {
            Algorithm::ES256 => &P256,
            Algorithm::ES384 => &P384,
            Algorithm::EdDSA => &ED,
            _ => &RSA,
        };
        let token = own.token(algorithm, "whatever");
        for signer in signers {
            let auth = Authenticator::new(AuthConfig {
                public_key: Some(Secret::new(signer.public_pem.as_str())),
                ..config(&ALL_BUT_HMAC)
            })
            .unwrap();
            let accepted = bearer(&auth, &token, now()).await.is_ok();
            let expected = signer.public_pem == own.public_pem;
            assert_eq!(accepted, expected, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn every_hmac_algorithm_is_accepted() {
    let all = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let auth = Authenticator::new(AuthConfig {
        hmac_secret: Some(Secret::new(SECRET)),
        ..config(&all)
    })
    .unwrap();
    for algorithm in all {
        let token = ED.token(algorithm, "whatever");
        assert!(bearer(&auth, &token, now()).await.is_ok());
    }
}

#[tokio::test]
async fn the_claims_become_the_annotator() {
    let claims = json!({"iss": "https://issuer.test", "aud": ["other", "lockgate"],
        "sub": "anna@example.com", "exp": NOW as f64 + 0.5, "nbf": NOW, "iat": NOW,
        "groups": ["a", "b"], "task": 7, "uri": "s3://bucket/key", "more": {}});
    let token = hs256(&claims.to_string());
    let annotator = bearer(&with_secret(), &token, now()).await.unwrap();
    assert_eq!(annotator.subject.as_str(), "anna@example.com");
    assert_eq!(annotator.groups, ["a", "b"].map(Arc::<str>::from));
    assert_eq!(annotator.scope.task, Some(TaskId::from("7")));
    assert_eq!(
        annotator.scope.uri,
        Some(MediaUri::parse("s3://bucket/key").unwrap())
    );
    assert_eq!(annotator.expires_at, now() + Duration::from_millis(500));
}

#[tokio::test]
async fn one_group_may_be_a_string() {
    let token = hs256(&claims_with("groups", "labelers"));
    let annotator = bearer(&with_secret(), &token, now()).await.unwrap();
    assert_eq!(annotator.groups, ["labelers"].map(Arc::<str>::from));
}

#[tokio::test]
async fn leeway_is_given_to_exp_and_nbf_and_not_exceeded() {
    let auth = Authenticator::new(AuthConfig {
        hmac_secret: Some(Secret::new(SECRET)),
        leeway: Duration::from_secs(30),
        ..config(&[Algorithm::HS256])
    })
    .unwrap();
    let token = hs256(&claims_with("exp", NOW));
    let annotator = bearer(&auth, &token, at(29)).await.unwrap();
    assert_eq!(annotator.expires_at, at(30));
    assert_eq!(reason(bearer(&auth, &token, at(30)).await), Some(EXPIRED));
    let early = hs256(&claims_with("nbf", NOW + 31));
    let answer = bearer(&auth, &early, now()).await;
    assert_eq!(reason(answer), Some("not valid yet"));
    assert!(bearer(&auth, &early, at(1)).await.is_ok());
}

#[tokio::test]
async fn a_remembered_token_is_refused_once_expired() {
    let auth = with_secret();
    let token = hs256(&claims().to_string());
    let first = bearer(&auth, &token, now()).await.unwrap();
    let again = bearer(&auth, &token, at(599)).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(reason(bearer(&auth, &token, at(600)).await), Some(EXPIRED));
}

#[tokio::test]
async fn the_first_credential_that_was_sent_decides() {
    let auth = with_secret();
    let good = hs256(&claims().to_string());
    let scoped = hs256(&claims_with("task", "7"));
    let given = |bearer, cookie, query| Credentials {
        bearer,
        cookie,
        query,
        ..Credentials::default()
    };
    let refused = [
        given(Some("bad"), Some(good.as_str()), Some(scoped.as_str())),
        given(Some(""), Some(good.as_str()), None),
        given(None, Some("bad"), Some(scoped.as_str())),
    ];
    for (row, credentials) in refused.into_iter().enumerate() {
        let answer = auth.authenticate(credentials, now()).await;
        assert!(reason(answer).is_some(), "{row}");
    }
    let accepted = [
        given(Some(good.as_str()), Some("bad"), Some("bad")),
        given(None, Some(good.as_str()), Some("bad")),
        given(None, None, Some(scoped.as_str())),
    ];
    for credentials in accepted {
        assert!(auth.authenticate(credentials, now()).await.is_ok());
    }
    let answer = auth.authenticate(Credentials::default(), now()).await;
    assert!(matches!(answer, Err(AuthError::Missing)));
}

#[tokio::test]
async fn a_query_token_needs_a_scope_even_when_it_is_remembered() {
    let auth = with_secret();
    let token = hs256(&claims().to_string());
    assert!(bearer(&auth, &token, now()).await.is_ok());
    let query = Credentials {
        query: Some(&token),
        ..Credentials::default()
    };
    assert!(reason(auth.authenticate(query, now()).await).is_some());
}

#[tokio::test]
async fn a_query_token_is_not_looked_at_where_it_is_off() {
    let auth = Authenticator::new(AuthConfig {
        hmac_secret: Some(Secret::new(SECRET)),
        query_token: false,
        ..config(&[Algorithm::HS256])
    })
    .unwrap();
    let token = hs256(&claims_with("task", "7"));
    let query = Credentials {
        query: Some(&token),
        ..Credentials::default()
    };
    let answer = auth.authenticate(query, now()).await;
    assert!(matches!(answer, Err(AuthError::Missing)));
}
