//! What Azure says that is not a blob's bytes: refusals, sorted by what can be done about them, and listings.
//!
//! Quotes no more than a code: the details of an authentication error hold signatures. Follows "Status and error
//! codes", "Blob Storage error codes" and "List Blobs" of the Storage REST reference.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::{BackendError, text};
use crate::backend::{Listed, Page};

/// Storage refuses a SharedKey whose date is further than a quarter of an hour off; a little less is told, too.
const CLOCK_SKEW: Duration = Duration::from_secs(14 * 60);

/// An answer that is not what was asked for, in the house's words.
pub(in crate::backend) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    document: &Bytes,
) -> BackendError {
    let code = code(headers);
    let said = match code {
        "" => format!("status {}", status.as_u16()),
        code => code.to_owned(),
    };
    match (status.as_u16(), code) {
        (404, "ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled") => {
            BackendError::NoSuchBucket
        }
        (404, _) => BackendError::NotFound,
        (412, _) => BackendError::Changed,
        (416, _) => BackendError::RangeNotSatisfiable,
        (_, "BlobArchived" | "BlobBeingRehydrated") | (401 | 403, _) => {
            let why = meaning(code, headers, document);
            BackendError::AccessDenied(format!("{said}{why}"))
        }
        (_, code) if code.starts_with("KeyVault") => BackendError::AccessDenied(format!(
            "{said}: storage cannot use the customer-managed key that the account is encrypted with"
        )),
        (400, "InvalidAuthenticationInfo" | "AuthenticationFailed") => {
            BackendError::AccessDenied(said)
        }
        (429 | 503, _) => BackendError::throttled(said),
        (408 | 500..=599, _) => BackendError::Unavailable(said),
        _ => BackendError::Protocol(format!("unexpected status {} {code}", status.as_u16())),
    }
}

/// Whether storage did not know who asked, unlike one whom it knows and refuses.
pub(super) fn is_stranger(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED || code(headers) == "AuthenticationFailed"
}

fn code(headers: &HeaderMap) -> &str {
    text(headers, HeaderName::from_static("x-ms-error-code"))
        .filter(|code| code.bytes().all(|b| b.is_ascii_alphanumeric()))
        .unwrap_or_default()
}

/// What to do about a refusal, as far as its code tells.
fn meaning(code: &str, headers: &HeaderMap, document: &Bytes) -> String {
    let meaning = match code {
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => return unknown(headers, document),
        "AuthorizationPermissionMismatch" => {
            "the identity lacks the role Storage Blob Data Reader, or the sas lacks sp=r"
        }
        "AuthorizationFailure" => "the account's firewall admits no request from here",
        "AuthorizationSourceIPMismatch" => "the sas is for other addresses (sip)",
        "AuthorizationProtocolMismatch" => "the sas is for https alone (spr)",
        "AuthorizationServiceMismatch" => "the sas is not for blobs (ss)",
        "AuthorizationResourceTypeMismatch" => "the sas is not for objects (srt)",
        "KeyBasedAuthenticationNotPermitted" => {
            "the account allows no shared key; use an identity of entra id"
        }
        "PublicAccessNotPermitted" | "NoAuthenticationInformation" => {
            "the account allows no anonymous access"
        }
        "AccountIsDisabled" => "the account is disabled",
        "BlobArchived" => "the blob is in the archive tier; rehydrate it to hot or cool",
        "BlobBeingRehydrated" => "the blob is on its way out of the archive tier; wait",
        _ => return String::new(),
    };
    format!(": {meaning}")
}

/// Why storage did not know who asked: its own words are looked into and not repeated.
fn unknown(headers: &HeaderMap, document: &Bytes) -> String {
    let storage_now =
        text(headers, header::DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    let now = SystemTime::now();
    let skew = storage_now.map(|theirs| {
        let ahead = now.duration_since(theirs);
        ahead.unwrap_or_else(|error| error.duration())
    });
    let detail = String::from_utf8_lossy(document);
    if let Some(skew) = skew.filter(|skew| *skew > CLOCK_SKEW) {
        return format!(
            ": this machine's clock is {} s off storage's",
            skew.as_secs()
        );
    }
    let meaning = if detail.contains("date header too old") {
        "this machine's clock is off storage's"
    } else if detail.contains("specified time frame") {
        "the sas has ended or has not begun"
    } else if detail.contains("Lifetime validation failed") {
        "the token has ended"
    } else if detail.contains("Issuer validation failed") {
        "the token is of another tenant than the account's"
    } else {
        "the account key, the sas or the token is not this account's"
    };
    format!(": {meaning}")
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    blobs: Blobs,
    #[serde(default)]
    next_marker: String,
}

#[derive(serde::Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

/// A name that XML cannot hold comes percent-encoded.
#[derive(serde::Deserialize)]
struct Name {
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(serde::Deserialize)]
struct Properties {
    #[serde(rename = "Content-Length")]
    content_length: u64,
}

pub(super) fn page(document: &[u8]) -> Result<Page, BackendError> {
    let broken =
        |error: String| BackendError::Protocol(format!("a listing that cannot be read: {error}"));
    let results: EnumerationResults =
        quick_xml::de::from_reader(document).map_err(|error| broken(error.to_string()))?;
    // Of a name that is nothing but blanks the parser keeps nothing, and a blob without a name has no URI.
    let named = results.blobs.blobs.into_iter();
    let named = named.filter(|blob| !blob.name.text.is_empty());
    let listed = named.map(|blob| {
        let name = blob.name;
        let key = if name.encoded {
            let decoded = percent_decode_str(&name.text).decode_utf8();
            decoded
                .map_err(|error| broken(error.to_string()))?
                .into_owned()
        } else {
            name.text
        };
        Ok(Listed {
            key,
            complete_length: blob.properties.content_length,
        })
    });
    Ok(Page {
        entries: listed.collect::<Result<_, BackendError>>()?,
        next: Some(results.next_marker).filter(|marker| !marker.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(
        status: u16,
        code: &'static str,
        more: &[(&'static str, &str)],
        document: &str,
    ) -> String {
        let mut headers = HeaderMap::new();
        if !code.is_empty() {
            headers.insert("x-ms-error-code", code.parse().expect("a value"));
        }
        for (name, value) in more {
            headers.insert(*name, value.parse().expect("a value"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let error = refusal(
            status,
            &headers,
            &Bytes::copy_from_slice(document.as_bytes()),
        );
        format!("{error:?}")
    }

    #[test]
    fn what_storage_says_is_told_apart() {
        for (status, code, expected) in [
            (404, "BlobNotFound", "NotFound"),
            (404, "ResourceNotFound", "NotFound"),
            (404, "", "NotFound"),
            (404, "ContainerNotFound", "NoSuchBucket"),
            (412, "ConditionNotMet", "Changed"),
            (416, "InvalidRange", "RangeNotSatisfiable"),
            (
                403,
                "AuthorizationPermissionMismatch",
                "Storage Blob Data Reader",
            ),
            (403, "AuthorizationFailure", "firewall"),
            (403, "KeyBasedAuthenticationNotPermitted", "entra id"),
            (403, "", "AccessDenied(\"status 403\")"),
            (401, "NoAuthenticationInformation", "AccessDenied"),
            (409, "BlobArchived", "archive tier"),
            (409, "BlobBeingRehydrated", "archive tier"),
            (403, "KeyVaultEncryptionKeyNotFound", "AccessDenied"),
            (409, "KeyVaultVaultNotFound", "customer-managed key"),
            (503, "ServerBusy", "ServerBusy"),
            (429, "", "Throttled"),
            (500, "OperationTimedOut", "Unavailable"),
            (400, "InvalidUri", "Protocol"),
            (302, "", "Protocol"),
        ] {
            let said = said(status, code, &[], "");
            assert!(said.contains(expected), "{status} {code}: {said}");
        }
    }

    #[test]
    fn a_clock_that_is_off_an_ended_sas_and_a_wrong_key_are_told_apart() {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let long_ago = [("date", "Fri, 26 Jun 2015 23:39:12 GMT")];
        let now = [("date", now.as_str())];
        let frame =
            "<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start";
        let mac =
            "<AuthenticationErrorDetail>The MAC signature found in the HTTP request 'c2ln' is";
        for (date, document, expected) in [
            (&long_ago, mac, "clock is"),
            (&now, frame, "the sas has ended"),
            (&now, mac, "not this account's"),
            (&now, "", "not this account's"),
        ] {
            let said = said(403, "AuthenticationFailed", date, document);
            assert!(said.contains(expected), "{document}: {said}");
            assert!(!said.contains("c2ln"), "a signature is repeated: {said}");
        }
    }

    #[test]
    fn a_listing_keeps_every_byte_of_its_names() {
        let document = "<?xml version=\"1.0\"?><EnumerationResults><Prefix>a</Prefix><Blobs>\
             <Blob><Name> a &amp; b </Name><Properties><Content-Length>3</Content-Length></Properties></Blob>\
             <Blob><Name Encoded=\"true\">a%EF%BF%BE%25</Name><Properties><Content-Length>0</Content-Length>\
             </Properties></Blob></Blobs><NextMarker>m 1</NextMarker></EnumerationResults>";
        let page = page(document.as_bytes()).expect("it is read");
        let keys: Vec<_> = page
            .entries
            .iter()
            .map(|l| (l.key.as_str(), l.complete_length))
            .collect();
        assert_eq!(keys, [(" a & b ", 3), ("a\u{fffe}%", 0)]);
        assert_eq!(page.next.as_deref(), Some("m 1"));
    }

    #[test]
    fn an_empty_listing_is_one() {
        let document = "<EnumerationResults><Blobs /><NextMarker /></EnumerationResults>";
        let page = page(document.as_bytes()).expect("it is read");
        assert!(page.entries.is_empty() && page.next.is_none());
    }
}
