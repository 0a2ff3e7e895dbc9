//! Where a bucket is: its URL, and the region that requests are signed for.
//!
//! Makes no request. A region that the configuration names is binding; without one the SDK's chain (`AWS_REGION`, the
//! profile) or `us-east-1` is a guess, and storage's own answer corrects it once and for all. With an endpoint of its
//! own only the signature's region changes, never the host. Follows "Virtual hosting of buckets" and "AWS service
//! endpoints".

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_config::default_provider::region::DefaultRegionChain;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use crate::backend::config::S3Config;

/// Where nothing says otherwise.
const DEFAULT_REGION: &str = "us-east-1";
/// No region's name is longer, by far.
const MAX_REGION_LENGTH: usize = 40;
/// SigV4's UriEncode: everything but the unreserved characters of RFC 3986.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One bucket's place.
pub(super) struct Place {
    config: S3Config,
    guess: OnceCell<Arc<String>>,
    found: ArcSwapOption<String>,
}

impl Place {
    pub(super) fn new(config: S3Config) -> Self {
        Self {
            config,
            guess: OnceCell::new(),
            found: ArcSwapOption::empty(),
        }
    }

    /// The region to sign for.
    pub(super) async fn region(&self) -> Arc<String> {
        if let Some(found) = self.found.load_full() {
            return found;
        }
        let guess = async || Arc::new(region(&self.config).await);
        self.guess.get_or_init(guess).await.clone()
    }

    /// Whether nothing that storage says would change the region.
    pub(super) fn is_settled(&self) -> bool {
        self.config.region.is_some() || self.found.load().is_some()
    }

    /// Storage took a request that was signed for this region.
    pub(super) fn settle(&self, region: &Arc<String>) {
        if !self.is_settled() {
            self.found.store(Some(region.clone()));
        }
    }

    /// Storage says that the bucket is in `region`; whether to ask again there, and not where it was asked (`asked`).
    pub(super) fn learn(&self, region: &str, asked: &str) -> bool {
        let news = self.config.region.is_none() && region != asked && is_region(region);
        if news {
            self.found.store(Some(Arc::new(region.to_owned())));
        }
        news
    }

    /// `scheme://authority/base/` of the bucket, ready for an encoded key.
    pub(super) fn url(&self, region: &str) -> String {
        let bucket = &self.config.bucket;
        let (scheme, authority, base) = match &self.config.endpoint {
            Some(endpoint) => {
                let host = endpoint.host_str().unwrap_or_default();
                let port = endpoint.port().map(|port| format!(":{port}"));
                (
                    endpoint.scheme(),
                    format!("{host}{}", port.unwrap_or_default()),
                    endpoint.path().trim_end_matches('/'),
                )
            }
            None => ("https", format!("s3.{region}.{}", dns_suffix(region)), ""),
        };
        if self.config.path_style {
            let bucket = utf8_percent_encode(bucket, UNRESERVED);
            format!("{scheme}://{authority}{base}/{bucket}/")
        } else {
            format!("{scheme}://{bucket}.{authority}{base}/")
        }
    }
}

/// Each of AWS' partitions has a domain of its own.
fn dns_suffix(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        Some(_) | None => "amazonaws.com",
    }
}

/// What storage says becomes part of a host's name: nothing but a label is taken.
fn is_region(text: &str) -> bool {
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_REGION_LENGTH).contains(&text.len()) && text.bytes().all(label)
}

/// The region to begin with: configured, else the SDK's chain, else `us-east-1`.
pub(super) async fn region(config: &S3Config) -> String {
    if let Some(region) = &config.region {
        return region.clone();
    }
    // A server of one's own has no region, and the chain may take seconds to find that this is no cloud machine.
    if config.endpoint.is_some() {
        return DEFAULT_REGION.to_owned();
    }
    let mut chain = DefaultRegionChain::builder();
    if let Some(profile) = &config.profile {
        chain = chain.profile_name(profile);
    }
    let region = chain.build().region().await;
    region.map_or_else(|| DEFAULT_REGION.to_owned(), |region| region.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> S3Config {
        S3Config {
            bucket: "media".into(),
            ..S3Config::default()
        }
    }

    #[test]
    fn a_bucket_has_the_url_of_its_region_partition_and_style() {
        let url = |change: fn(&mut S3Config), region| {
            let mut config = config();
            change(&mut config);
            Place::new(config).url(region)
        };
        let dotted = |config: &mut S3Config| {
            (config.bucket, config.path_style) = ("team.media".into(), true);
        };
        let own = |config: &mut S3Config| {
            config.endpoint = url::Url::parse("https://s3.test:9000/base/").ok();
        };
        for (change, region, expected) in [
            (
                (|_| {}) as fn(&mut S3Config),
                "eu-west-1",
                "https://media.s3.eu-west-1.amazonaws.com/",
            ),
            (
                |_| {},
                "cn-north-1",
                "https://media.s3.cn-north-1.amazonaws.com.cn/",
            ),
            (
                |_| {},
                "us-gov-west-1",
                "https://media.s3.us-gov-west-1.amazonaws.com/",
            ),
            (
                |_| {},
                "eusc-de-east-1",
                "https://media.s3.eusc-de-east-1.amazonaws.eu/",
            ),
            (
                dotted,
                "eu-west-1",
                "https://s3.eu-west-1.amazonaws.com/team.media/",
            ),
            (own, "eu-west-1", "https://media.s3.test:9000/base/"),
        ] {
            assert_eq!(url(change, region), expected);
        }
    }

    #[tokio::test]
    async fn storage_corrects_a_guess_and_never_a_configured_region() {
        let place = Place::new(S3Config {
            endpoint: url::Url::parse("http://s3.test").ok(),
            ..config()
        });
        assert_eq!(*place.region().await, "us-east-1");
        assert!(!place.is_settled());
        assert!(place.learn("eu-west-1", "us-east-1"));
        assert_eq!(*place.region().await, "eu-west-1");
        // Another request that was under way is told the same, and has to go there as well.
        assert!(place.learn("eu-west-1", "us-east-1"));
        assert!(
            !place.learn("eu-west-1", "eu-west-1"),
            "no news, no second try"
        );
        for no_region in ["", "evil.test/", "eu-west-1.evil.test", "a@b", "EU", "ü"] {
            assert!(!place.learn(no_region, "eu-west-1"), "{no_region}");
        }

        let place = Place::new(S3Config {
            region: Some("eu-central-1".into()),
            ..config()
        });
        assert!(place.is_settled() && !place.learn("eu-west-1", "eu-central-1"));
        assert_eq!(*place.region().await, "eu-central-1");
    }
}
