//! Tokens that are none, sent to a running gateway. That each is refused for the reason it should be is in the tables
//! of `src/auth/tests`.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::{gateway_over_store, token, uri};

fn claims() -> Value {
    json!({"iss": token::ISSUER, "aud": token::AUDIENCE, "sub": "anna", "exp": token::epoch(600)})
}

fn hs256(header: &str, claims: &str) -> String {
    let key = EncodingKey::from_secret(token::SECRET.as_bytes());
    token::signed(header, claims, &key, Algorithm::HS256)
}

async fn status(gateway: &Gateway, token: &str) -> u16 {
    let path = uri::project("1", "s3://media/a.mp4");
    let answer = gateway.client().get(path).bearer(token).answer().await;
    assert!(answer.status == 200 || !answer.text().contains("the media"));
    if answer.status == 401 {
        let challenge = answer.header("www-authenticate");
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }
    answer.status
}

async fn started() -> (Store, Gateway) {
    let (store, gateway) = gateway_over_store().await;
    store.put("media", "a.mp4", b"the media".to_vec(), None);
    let good = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    assert_eq!(status(&gateway, &good).await, 200, "the tests' own token");
    (store, gateway)
}

#[tokio::test]
async fn alg_none_is_refused_in_every_spelling() {
    let (_store, gateway) = started().await;
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    for alg in [
        "none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256",
    ] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
        for signature in ["", "AA", "e30"] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(status(&gateway, &token).await, 401, "{alg:?} {signature:?}");
        }
        let signed = hs256(&json!({ "alg": alg }).to_string(), &claims().to_string());
        assert_eq!(status(&gateway, &signed).await, 401, "{alg:?}, signed");
    }
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    let store = Store::start().await;
    store.put("media", "a.mp4", b"the media".to_vec(), None);
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let public = pair.public_key_pem();
    let gateway = Setup::over(&store.section("media"))
        .set("auth.jwt.algorithms", vec!["RS256", "HS256"])
        .set("auth.jwt.public_key.file", "jwt.pem")
        .file("jwt.pem", public.as_bytes())
        .start()
        .await;
    let private = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let claims = claims().to_string();
    let own = token::signed(r#"{"alg":"RS256"}"#, &claims, &private, Algorithm::RS256);
    assert_eq!(status(&gateway, &own).await, 200);
    let der = rcgen::PublicKeyData::subject_public_key_info(&pair);
    for secret in [public.as_bytes(), public.trim_end().as_bytes(), &der, b""] {
        let key = EncodingKey::from_secret(secret);
        for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"RS256"}"#] {
            let token = token::signed(header, &claims, &key, Algorithm::HS256);
            assert_eq!(status(&gateway, &token).await, 401, "{header}");
        }
    }
}

#[tokio::test]
async fn no_key_that_a_token_names_is_fetched_or_believed() {
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let url = format!("http://{}/keys", trap.local_addr().expect("it is bound"));
    let (_store, gateway) = started().await;
    let own = b"a secret that the client brings along, long enough";
    let key = EncodingKey::from_secret(own);
    let jwk = json!({"kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(own)});
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!([STANDARD.encode(own)])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("kid", json!(url)),
    ] {
        let header = json!({"alg": "HS256", name: value}).to_string();
        let claims = claims().to_string();
        let token = token::signed(&header, &claims, &key, Algorithm::HS256);
        assert_eq!(status(&gateway, &token).await, 401, "{name}");
    }
    let called = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
    assert!(called.is_err(), "an address from a token was called");
}

#[tokio::test]
async fn a_kid_that_traverses_names_no_file_and_no_key() {
    let (_store, gateway) = started().await;
    let secrets: [&[u8]; 3] = [b"", b"\0", token::AUDIENCE.as_bytes()];
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "jwt.secret",
        "file:///dev/null",
        "..%2f..%2fdev%2fnull",
        "' UNION SELECT ''; --",
        "| true",
        "\0",
        "\r\n",
    ] {
        for secret in secrets {
            let key = EncodingKey::from_secret(secret);
            let header = json!({"alg": "HS256", "kid": kid}).to_string();
            let claims = claims().to_string();
            let token = token::signed(&header, &claims, &key, Algorithm::HS256);
            assert_eq!(status(&gateway, &token).await, 401, "{kid:?}");
        }
    }
}

#[tokio::test]
async fn a_header_that_must_be_understood_is_not() {
    let (_store, gateway) = started().await;
    for header in [
        r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
    ] {
        let token = hs256(header, &claims().to_string());
        assert_eq!(status(&gateway, &token).await, 401, "{header}");
    }
}

#[tokio::test]
async fn claims_that_are_missing_mistyped_or_there_twice_are_refused() {
    let (_store, gateway) = started().await;
    let mut table: Vec<String> = ["iss", "aud", "sub", "exp"]
        .iter()
        .flat_map(|&name| {
            let values = [
                json!(null),
                json!(true),
                json!({}),
                json!([]),
                json!([1]),
                json!(""),
            ];
            values.map(|value| {
                let mut claims = claims();
                claims[name] = value;
                claims.to_string()
            })
        })
        .collect();
    for (name, value) in [
        ("exp", json!("9999999999")),
        ("exp", json!(1e300)),
        ("nbf", json!({})),
    ] {
        let mut claims = claims();
        claims[name] = value;
        table.push(claims.to_string());
    }
    for twice in [
        r#""sub":"bo""#,
        r#""exp":9999999999"#,
        r#""aud":"x""#,
        r#""a":1,"a":1"#,
    ] {
        let claims = claims().to_string();
        table.push(claims.replacen('{', &format!("{{{twice},"), 1));
    }
    for claims in table {
        let token = hs256(r#"{"alg":"HS256"}"#, &claims);
        assert_eq!(status(&gateway, &token).await, 401, "{claims}");
    }
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
    ] {
        let token = hs256(header, &claims().to_string());
        assert_eq!(status(&gateway, &token).await, 401, "{header}");
    }
}

#[tokio::test]
async fn a_huge_token_is_refused() {
    let (_store, gateway) = started().await;
    for bytes in [8 << 10, 20 << 10, 40 << 10] {
        let mut claims = claims();
        claims["padding"] = "a".repeat(bytes).into();
        let token = hs256(r#"{"alg":"HS256"}"#, &claims.to_string());
        assert_eq!(status(&gateway, &token).await, 401, "{bytes}");
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let claims = claims()
        .to_string()
        .replacen('{', &format!("{{\"a\":{deep},"), 1);
    let token = hs256(r#"{"alg":"HS256"}"#, &claims);
    assert_eq!(status(&gateway, &token).await, 401, "nested deep");
}

#[tokio::test]
async fn odd_base64_is_refused() {
    let (_store, gateway) = started().await;
    let good = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let padded = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64");
        URL_SAFE.encode(bytes)
    };
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    // 32 bytes are 43 characters, of which the last holds four bits and two that must be 0.
    let last = signature.as_bytes()[42];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.iter().position(|&c| c == last).expect("base64");
    let dangling = char::from(alphabet[place | 1]);
    for token in [
        format!("{header}.{payload}.{}", padded(signature)),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{}{dangling}", &signature[..42]),
        format!("{header}.{payload}.{signature}A"),
        format!("{header}.{payload}.{}", &signature[..42]),
        format!("{header}.{payload}.%{signature}"),
        format!("{header}.{} {}.{signature}", &payload[..9], &payload[9..]),
        format!("{header}.{payload}.{signature}."),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{}", signature.to_uppercase()),
        format!("{header}.{payload}.{signature},{good}"),
        format!("{}.{payload}.{signature}", header.replace('J', "%4A")),
    ] {
        assert_eq!(status(&gateway, &token).await, 401, "{token}");
    }
    // The standard alphabet is another alphabet: found by signatures that hold its letters.
    let with_dash = (0..100).find_map(|number| {
        let mut claims = claims();
        claims["n"] = number.into();
        let token = hs256(r#"{"alg":"HS256"}"#, &claims.to_string());
        token.contains('-').then_some(token)
    });
    let standard = with_dash
        .expect("one of a hundred has it")
        .replace('-', "+");
    assert_eq!(status(&gateway, &standard).await, 401);
}
