//! `http(s)://` URLs: whether a host is a provider's own, and which bucket it speaks of.
//!
//! Knows only well-known hosts; a storage's own `endpoint` is `resolve`'s to compare. Follows
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>,
//! <https://cloud.google.com/storage/docs/request-endpoints> and
//! <https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata>.

use super::{MediaUri, MediaUriError, Provider, percent_decode, split_nonempty};

/// Where Azure's accounts are.
pub(super) const AZURE: &str = "blob.core.windows.net";
/// Where Google's buckets are, under both of its interfaces.
pub(crate) const GCS: &str = "storage.googleapis.com";

/// The port of a URL that writes none (RFC 9110 §4.2).
pub(super) fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// `authority/path?query#fragment`: the path percent-decoded once, query and fragment dropped (a presigned URL's
/// signature is of no use here, and the annotator's permission does not come from it).
pub(super) fn parse(tls: bool, rest: &str) -> Result<MediaUri, MediaUriError> {
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) =
        host_and_port(authority, default_port(tls)).ok_or(MediaUriError::UnknownDialect)?;
    let path = percent_decode(path)?;
    if path.is_empty() {
        return Err(MediaUriError::NamesNothing);
    }
    match well_known(&host) {
        Some(known) if port == default_port(tls) => known.object(&path),
        _ => Ok(MediaUri::Url {
            tls,
            host: host.into(),
            port,
            path: path.into(),
        }),
    }
}

/// RFC 3986 §3.2 without userinfo: a URL that carries a password is refused.
fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let port = match port {
        "" => default,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    // One spelling per host, the one that `url::Url` gives a configured endpoint.
    let host = url::Host::parse(host).ok()?.to_string();
    Some((host, port))
}

/// A provider's own host.
#[derive(Debug, PartialEq, Eq)]
struct WellKnown<'a> {
    provider: Provider,
    /// In virtual-host style; else the path begins with it.
    bucket: Option<&'a str>,
    account: Option<&'a str>,
}

impl WellKnown<'_> {
    fn object(&self, path: &str) -> Result<MediaUri, MediaUriError> {
        let (bucket, key) = match self.bucket {
            Some(bucket) => (bucket, path),
            None => split_nonempty(path)?,
        };
        Ok(MediaUri::Object {
            provider: self.provider,
            bucket: bucket.into(),
            key: key.into(),
            account: self.account.map(Into::into),
        })
    }
}

fn well_known(host: &str) -> Option<WellKnown<'_>> {
    if let Some(bucket) = bucket_before(host, GCS) {
        return Some(WellKnown {
            provider: Provider::Gcs,
            bucket,
            account: None,
        });
    }
    if let Some(account) = bucket_before(host, AZURE) {
        // Without an account it is nobody's container.
        return account.map(|_| WellKnown {
            provider: Provider::Azure,
            bucket: None,
            account,
        });
    }
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let bucket = aws_bucket(host.strip_suffix(".amazonaws.com")?)?;
    Some(WellKnown {
        provider: Provider::S3,
        bucket,
        account: None,
    })
}

/// `Some(None)` for the service's host itself, `Some(Some(bucket))` for `bucket.service`.
fn bucket_before<'a>(host: &'a str, service: &str) -> Option<Option<&'a str>> {
    match host.strip_suffix(service)? {
        "" => Some(None),
        rest => rest
            .strip_suffix('.')
            .filter(|bucket| !bucket.is_empty())
            .map(Some),
    }
}

/// What stands before `amazonaws.com`, read from the right, since a bucket's name may have dots:
/// `[bucket.]s3[.dualstack][.region]`, or `[bucket.]s3-region` as it was written before 2019. Other services'
/// hosts (`s3-website`, `s3-control`, access points, `ec2`) hold no buckets.
fn aws_bucket(rest: &str) -> Option<Option<&str>> {
    let (before, last) = split_last_label(rest);
    let dashed_region = last
        .strip_prefix("s3-")
        .is_some_and(|r| is_region(r) || r == "external-1");
    if dashed_region || matches!(last, "s3" | "s3-accelerate") {
        return Some(before);
    }
    if !is_region(last) && last != "dualstack" {
        return None;
    }
    let (mut before, mut service) = split_last_label(before?);
    if service == "dualstack" {
        (before, service) = split_last_label(before?);
    }
    matches!(service, "s3" | "s3-fips" | "s3-accelerate").then_some(before)
}

fn split_last_label(labels: &str) -> (Option<&str>, &str) {
    match labels.rsplit_once('.') {
        Some((before, last)) => (Some(before).filter(|before| !before.is_empty()), last),
        None => (None, labels),
    }
}

/// `eu-central-1`, `us-gov-west-1`: a short area, at least one word, a number.
fn is_region(label: &str) -> bool {
    let mut words = label.split('-');
    let area = words.next().unwrap_or_default();
    let number = words.next_back().unwrap_or_default();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits && (2..=4).contains(&area.len()) && words.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(provider: Provider, bucket: &str, account: Option<&str>) -> MediaUri {
        MediaUri::Object {
            provider,
            bucket: bucket.into(),
            key: "k/x y".into(),
            account: account.map(Into::into),
        }
    }

    #[test]
    fn a_providers_own_host_names_the_same_object_as_its_scheme() {
        for (host, bucket) in [
            ("b.s3.eu-central-1.amazonaws.com/", "b"),
            ("b.s3-eu-west-1.amazonaws.com/", "b"),
            ("b.s3.amazonaws.com/", "b"),
            ("B.S3.AmazonAWS.com:443/", "b"),
            ("b.s3.dualstack.us-gov-west-1.amazonaws.com/", "b"),
            ("b.s3-fips.us-east-1.amazonaws.com/", "b"),
            ("b.s3-accelerate.amazonaws.com/", "b"),
            ("b.s3-accelerate.dualstack.amazonaws.com/", "b"),
            ("b.s3.cn-north-1.amazonaws.com.cn/", "b"),
            ("team.media.s3.us-east-1.amazonaws.com/", "team.media"),
            ("s3.s3.us-east-1.amazonaws.com/", "s3"),
            ("s3.us-east-1.amazonaws.com/b/", "b"),
            ("s3-us-west-2.amazonaws.com/b/", "b"),
            ("s3.amazonaws.com/team.media/", "team.media"),
            ("s3.dualstack.eu-west-1.amazonaws.com/b/", "b"),
            ("s3.cn-north-1.amazonaws.com.cn/b/", "b"),
        ] {
            let uri = MediaUri::parse(&format!("https://{host}k/x%20y?X-Amz-Signature=0#t=1"));
            assert_eq!(uri, Ok(object(Provider::S3, bucket, None)), "{host}");
            assert_eq!(uri, MediaUri::parse(&format!("s3://{bucket}/k/x y")));
        }
        for (host, named) in [
            (
                "storage.googleapis.com/b/",
                object(Provider::Gcs, "b", None),
            ),
            (
                "b.c.storage.googleapis.com/",
                object(Provider::Gcs, "b.c", None),
            ),
            (
                "acc.blob.core.windows.net/b/",
                object(Provider::Azure, "b", Some("acc")),
            ),
        ] {
            assert_eq!(
                MediaUri::parse(&format!("https://{host}k/x y")),
                Ok(named),
                "{host}"
            );
        }
    }

    #[test]
    fn any_other_host_is_a_url_that_only_an_endpoint_can_claim() {
        for (text, tls, host, port, path) in [
            (
                "https://example.com/a%20b+c%3Fd?q#f",
                true,
                "example.com",
                443,
                "a b+c?d",
            ),
            (
                "http://127.0.0.1:9000/b//k",
                false,
                "127.0.0.1",
                9000,
                "b//k",
            ),
            ("http://[::1]:9000/b/../k", false, "[::1]", 9000, "b/../k"),
            ("http://[0:0::1]/b/k", false, "[::1]", 80, "b/k"),
            (
                "https://b.s3.amazonaws.com:8443/k",
                true,
                "b.s3.amazonaws.com",
                8443,
                "k",
            ),
            (
                "https://b.s3-website-us-east-1.amazonaws.com/k",
                true,
                "b.s3-website-us-east-1.amazonaws.com",
                443,
                "k",
            ),
            (
                "https://s3.amazonaws.com.evil.example/b/k",
                true,
                "s3.amazonaws.com.evil.example",
                443,
                "b/k",
            ),
            (
                "https://evils3.amazonaws.com/b/k",
                true,
                "evils3.amazonaws.com",
                443,
                "b/k",
            ),
            (
                "https://xstorage.googleapis.com/b/k",
                true,
                "xstorage.googleapis.com",
                443,
                "b/k",
            ),
            (
                "https://blob.core.windows.net/b/k",
                true,
                "blob.core.windows.net",
                443,
                "b/k",
            ),
            (
                "https://b.s3.us-east-one.amazonaws.com/k",
                true,
                "b.s3.us-east-one.amazonaws.com",
                443,
                "k",
            ),
            (
                "https://ec2.us-east-1.amazonaws.com/b/k",
                true,
                "ec2.us-east-1.amazonaws.com",
                443,
                "b/k",
            ),
        ] {
            let url = MediaUri::Url {
                tls,
                host: host.into(),
                port,
                path: path.into(),
            };
            assert_eq!(MediaUri::parse(text), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_url_with_a_password_or_without_a_host_is_no_media_uri() {
        for text in [
            "https://u:p@host/k",
            "https://u@host/k",
            "https:///k",
            "https://h:x/k",
            "https://h:99999/k",
            "https://h:+80/k",
            "https://[::/k",
        ] {
            assert_eq!(
                MediaUri::parse(text),
                Err(MediaUriError::UnknownDialect),
                "{text}"
            );
        }
        for text in [
            "https://host",
            "https://host/",
            "https://host/?k",
            "https://s3.amazonaws.com/b",
            "https://s3.amazonaws.com//k",
        ] {
            assert_eq!(
                MediaUri::parse(text),
                Err(MediaUriError::NamesNothing),
                "{text}"
            );
        }
    }
}
