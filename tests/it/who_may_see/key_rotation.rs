//! An issuer that changes its keys while annotators work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::store::Store;
use crate::support::stub::Stub;
use crate::support::{eventually, token, uri};

/// A key of the issuer's.
struct Key {
    kid: &'static str,
    pair: rcgen::KeyPair,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
        Self {
            kid,
            pair: pair.expect("a key"),
        }
    }

    fn jwk(&self) -> Value {
        let key = DecodingKey::from_ec_pem(self.pair.public_key_pem().as_bytes());
        let jwk = Jwk::from_decoding_key(&key.expect("a key"), Some(Algorithm::ES256));
        let mut jwk = serde_json::to_value(jwk.expect("a JWK")).expect("JSON");
        jwk["kid"] = self.kid.into();
        jwk
    }

    fn token(&self) -> String {
        let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes());
        let header = json!({"alg": "ES256", "kid": self.kid}).to_string();
        // Each its own, so that none is remembered.
        let id = fastrand::u64(..);
        let claims = json!({"iss": token::ISSUER, "aud": token::AUDIENCE, "sub": "anna",
            "exp": token::epoch(600), "jti": id});
        let key = key.expect("a key");
        token::signed(&header, &claims.to_string(), &key, Algorithm::ES256)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_under_load_and_nobody_is_refused() {
    let (old, new) = (Arc::new(Key::new("old")), Arc::new(Key::new("new")));
    let published = Arc::new(Mutex::new(vec![old.jwk()]));
    let shown = published.clone();
    let issuer = Stub::start(move |_| {
        let keys = shown.lock().expect("no test panicked here").clone();
        (200, json!({ "keys": keys }).to_string())
    })
    .await;
    let store = Store::start().await;
    store.put("media", "a.mp4", b"the media".to_vec(), None);
    let gateway = Setup::over(&store.section("media"))
        .set("auth.jwt.algorithms", vec!["ES256", "HS256"])
        .set("auth.jwt.jwks_url", issuer.endpoint.as_str())
        .start()
        .await;
    let path = uri::project("1", "s3://media/a.mp4");
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut annotators = tokio::task::JoinSet::new();
    let ask = |key: Arc<Key>| {
        let (client, path) = (gateway.client().clone(), path.clone());
        let (stop, answered) = (stop.clone(), answered.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.get(&path).bearer(key.token()).answer().await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let more = async |count: usize| {
        let so_far = answered.load(Ordering::Relaxed);
        eventually("requests are answered", async || {
            (answered.load(Ordering::Relaxed) >= so_far + count).then_some(())
        })
        .await;
    };
    annotators.spawn(ask(old.clone()));
    annotators.spawn(ask(old.clone()));
    more(20).await;
    published
        .lock()
        .expect("no test panicked here")
        .push(new.jwk());
    for _ in 0..4 {
        annotators.spawn(ask(new.clone()));
    }
    more(60).await;
    stop.store(true, Ordering::Relaxed);
    annotators.join_all().await;
    assert!(issuer.count() <= 3, "{} fetches", issuer.count());
}
