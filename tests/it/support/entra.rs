//! Tokens as Entra ID grants them and as Azurite checks them: audience and lifetime, and not the signature.

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::authority::Asked;
use super::token::epoch;

pub const TENANT: &str = "11111111-2222-3333-4444-555555555555";
pub const OBJECT: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

/// A token for this audience, good for an hour.
pub fn token(audience: &str) -> String {
    let claims = json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{TENANT}/"), "oid": OBJECT, "tid": TENANT,
        "iat": epoch(0), "nbf": epoch(-60), "exp": epoch(3600),
    });
    let key = EncodingKey::from_secret(b"no key of Entra");
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("it signs")
}

/// What a token endpoint answers who may have one.
pub fn granted(_: &Asked) -> (u16, String) {
    let token = token("https://storage.azure.com");
    let document = json!({"token_type": "Bearer", "expires_in": 3599, "access_token": token});
    (200, document.to_string())
}

/// Who asks, in a `[[storage]]` section: a service principal of the tenant.
pub fn section(authority_host: &str) -> String {
    format!(
        "tenant_id = '{TENANT}'\nclient_id = 'an application'\nclient_secret = 'a secret+&='\n\
         authority_host = '{authority_host}'\n"
    )
}
