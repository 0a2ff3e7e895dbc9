//! Azure's signatures: SharedKey for a request, a service SAS and a user-delegation SAS for a URL. Pure: no I/O.
//!
//! Written by hand, since Microsoft's crates have no shared key and sign only a later layout. Follows "Authorize with
//! Shared Key", "Create a service SAS" and "Create a user delegation SAS" of the Storage REST reference, for the
//! version [`VERSION`] alone: a later one signs more fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::BackendError;
use crate::secret::Secret;

/// `x-ms-version` of every request and `sv` of every signature.
pub(super) const VERSION: &str = "2023-11-03";

/// Everything but the unreserved characters of RFC 3986.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a blob's name in a path, where slashes stand.
pub(super) const KEY: &AsciiSet = &UNRESERVED.remove(b'/');

/// The value of `Authorization` for a request without a body that goes to `path_and_query` and has `headers`.
pub(super) fn shared_key(
    account: &str,
    key: &Secret,
    method: &Method,
    path_and_query: &str,
    headers: &HeaderMap,
) -> Result<String, BackendError> {
    let signed = string_to_sign(account, method, path_and_query, headers);
    Ok(format!("SharedKey {account}:{}", mac(key, &signed)?))
}

fn string_to_sign(
    account: &str,
    method: &Method,
    path_and_query: &str,
    headers: &HeaderMap,
) -> String {
    let field = |name| super::text(headers, name).unwrap_or_default();
    let mut signed = format!("{method}\n");
    // Content-Encoding, -Language, -Length, -MD5 and -Type: there is no body. Date: `x-ms-date` is signed instead.
    signed.push_str("\n\n\n\n\n\n");
    for name in [
        header::IF_MODIFIED_SINCE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_UNMODIFIED_SINCE,
        header::RANGE,
    ] {
        signed.push_str(field(name));
        signed.push('\n');
    }
    let own: BTreeMap<&str, &HeaderName> = headers
        .keys()
        .map(|name| (name.as_str(), name))
        .filter(|(name, _)| name.starts_with("x-ms-"))
        .collect();
    for (name, value) in own {
        let _ = writeln!(signed, "{name}:{}", field(value.clone()).trim());
    }
    signed.push_str(&canonicalized_resource(account, path_and_query));
    signed
}

/// The account, the path as it is sent, and the query's parameters, decoded, by their names.
fn canonicalized_resource(account: &str, path_and_query: &str) -> String {
    let (path, query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let mut resource = format!("/{account}{path}");
    let parameters: BTreeMap<String, String> = query
        .split('&')
        .filter_map(|parameter| parameter.split_once('='))
        .map(|(name, value)| (name.to_lowercase(), decoded(value)))
        .collect();
    for (name, value) in parameters {
        let _ = write!(resource, "\n{name}:{value}");
    }
    resource
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// What a URL shall allow: to read one blob until an end.
pub(super) struct Grant<'a> {
    pub(super) account: &'a str,
    pub(super) container: &'a str,
    /// The blob's name, not encoded: it is signed as it is.
    pub(super) blob: &'a str,
    pub(super) ends_at: SystemTime,
    /// Whether the URL may be used over TLS alone.
    pub(super) only_https: bool,
    pub(super) content_type: Option<&'a str>,
}

/// A key that signs for an identity until its end ("Get User Delegation Key").
#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UserDelegationKey {
    pub(super) signed_oid: String,
    pub(super) signed_tid: String,
    pub(super) signed_start: String,
    pub(super) signed_expiry: String,
    pub(super) signed_service: String,
    pub(super) signed_version: String,
    #[serde(deserialize_with = "secret")]
    pub(super) value: Secret,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(|text: String| Secret::new(text))
}

impl Grant<'_> {
    /// The query of a service SAS, signed with the account's key.
    pub(super) fn by_account_key(&self, key: &Secret) -> Result<String, BackendError> {
        let expiry = utc(self.ends_at);
        let (protocol, content_type) = (self.protocol(), self.content_type.unwrap_or_default());
        // sp st se resource si sip spr sv sr snapshot ses rscc rscd rsce rscl rsct
        let signed = format!(
            "r\n\n{expiry}\n{}\n\n\n{protocol}\n{VERSION}\nb\n\n\n\n\n\n\n{content_type}",
            self.resource()
        );
        Ok(self.query(&expiry, &[], &mac(key, &signed)?))
    }

    /// The query of a user-delegation SAS.
    pub(super) fn by_user_delegation(
        &self,
        key: &UserDelegationKey,
    ) -> Result<String, BackendError> {
        let expiry = utc(self.ends_at);
        let (protocol, content_type) = (self.protocol(), self.content_type.unwrap_or_default());
        let delegation = [
            ("skoid", &*key.signed_oid),
            ("sktid", &*key.signed_tid),
            ("skt", &*key.signed_start),
            ("ske", &*key.signed_expiry),
            ("sks", &*key.signed_service),
            ("skv", &*key.signed_version),
        ];
        let fields = delegation.map(|(_, value)| value).join("\n");
        // sp st se resource, the key's six, saoid suoid scid sip spr sv sr snapshot ses rscc rscd rsce rscl rsct
        let signed = format!(
            "r\n\n{expiry}\n{}\n{fields}\n\n\n\n\n{protocol}\n{VERSION}\nb\n\n\n\n\n\n\n{content_type}",
            self.resource()
        );
        Ok(self.query(&expiry, &delegation, &mac(&key.value, &signed)?))
    }

    fn resource(&self) -> String {
        format!("/blob/{}/{}/{}", self.account, self.container, self.blob)
    }

    fn protocol(&self) -> &'static str {
        if self.only_https {
            "https"
        } else {
            "https,http"
        }
    }

    fn query(&self, expiry: &str, more: &[(&str, &str)], signature: &str) -> String {
        let own = [
            ("sv", VERSION),
            ("sr", "b"),
            ("sp", "r"),
            ("se", expiry),
            ("spr", self.protocol()),
        ];
        let content_type = self.content_type.map(|value| ("rsct", value));
        let mut query = String::new();
        for (name, value) in own
            .into_iter()
            .chain(more.iter().copied())
            .chain(content_type)
        {
            let _ = write!(query, "{name}={}&", utf8_percent_encode(value, UNRESERVED));
        }
        let _ = write!(query, "sig={}", utf8_percent_encode(signature, UNRESERVED));
        query
    }
}

/// HMAC-SHA256 under a base64 key, base64.
fn mac(key: &Secret, signed: &str) -> Result<String, BackendError> {
    let key = STANDARD
        .decode(key.expose())
        .map_err(|_| BackendError::NoCredentials("the key is not base64".into()))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    Ok(STANDARD.encode(hmac::sign(&key, signed.as_bytes())))
}

/// `2026-01-02T03:04:05Z`, cut to the second.
pub(super) fn utc(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// A time as a SAS has it: to the second, to the minute, or a day, and without an offset in UTC.
pub(super) fn parse_utc(written: &str) -> Option<SystemTime> {
    let written = match written.len() {
        10 => format!("{written}T00:00:00Z"),
        17 => format!("{}:00Z", written.strip_suffix('Z')?),
        _ => written.to_owned(),
    };
    OffsetDateTime::parse(&written, &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn key() -> Secret {
        Secret::new(STANDARD.encode("a key of the tests"))
    }

    fn fields(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_shared_key_signs_is_what_the_reference_says() {
        // "Authorize with Shared Key", the string-to-sign of List Containers and its kind, with this request's fields.
        let headers = fields(&[
            ("x-ms-version", VERSION),
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"),
            ("if-match", "\"0x8D\""),
            ("range", "bytes=0-9"),
            ("traceparent", "00-1-2-01"),
        ]);
        let signed = string_to_sign(
            "acme",
            &Method::GET,
            "/c/a%20b?restype=container&prefix=%25%20&Comp=list",
            &headers,
        );
        assert_eq!(
            signed,
            "GET\n\n\n\n\n\n\n\n\"0x8D\"\n\n\nbytes=0-9\n\
             x-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2023-11-03\n\
             /acme/c/a%20b\ncomp:list\nprefix:% \nrestype:container"
        );
    }

    #[test]
    fn a_signed_query_holds_what_was_signed_and_no_key() {
        let grant = Grant {
            account: "acme",
            container: "c",
            blob: "a b+%.png",
            ends_at: UNIX_EPOCH + Duration::from_millis(1_500),
            only_https: true,
            content_type: Some("image/png"),
        };
        let query = grant.by_account_key(&key()).expect("it signs");
        let begin =
            "sv=2023-11-03&sr=b&sp=r&se=1970-01-01T00%3A00%3A01Z&spr=https&rsct=image%2Fpng&sig=";
        assert!(query.starts_with(begin), "{query}");
        assert!(!query.contains(key().expose()));
        let another = Grant {
            blob: "a b+%2.png",
            ..grant
        };
        assert_ne!(another.by_account_key(&key()).expect("it signs"), query);
    }

    #[test]
    fn a_key_that_is_not_base64_signs_nothing_and_is_not_shown() {
        let error = mac(&Secret::new("not base64!"), "x").expect_err("it is refused");
        assert!(!error.to_string().contains("not base64!"));
    }

    #[test]
    fn times_are_read_in_every_form_that_a_sas_has() {
        let second = UNIX_EPOCH + Duration::from_secs(86_400);
        for written in [
            "1970-01-02",
            "1970-01-02T00:00Z",
            "1970-01-02T00:00:00Z",
            "1970-01-02T00:00:00.0000000Z",
        ] {
            assert_eq!(parse_utc(written), Some(second), "{written}");
        }
        for written in ["", "tomorrow", "1970-01-02T00:00+1", "ünïcödé"] {
            assert_eq!(parse_utc(written), None, "{written}");
        }
        assert_eq!(utc(second), "1970-01-02T00:00:00Z");
    }
}
