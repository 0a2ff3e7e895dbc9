//! Who a client is where proxies stand in front (`server.trusted_proxies`): the right-most address that is none of
//! theirs, and the scheme that the last of them was asked by.
//!
//! What anybody else says of where they come from is believed in nothing. Follows RFC 7239 (Forwarded) and what nginx,
//! Envoy and HAProxy do with `X-Forwarded-For` and `X-Forwarded-Proto`. Where `X-Forwarded-For` is there, `Forwarded` is
//! not looked at: these proxies write the former, and pass a client's own `Forwarded` on.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::listener::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// More hops than this are no proxies of anybody's: the rest is not looked at.
const MAX_HOPS: usize = 16;

/// `server.trusted_proxies`, as this room wants it; `config` fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// A network as it is written, `10.0.0.0/8`, or one address.
    pub fn network(text: &str) -> Option<IpNet> {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(address)
    }

    /// Whose request this is: the peer's own, or what the trusted ones among its hops say.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        if !self.trusts(peer.address.ip()) {
            return peer;
        }
        let x_forwarded = headers.contains_key(&FORWARDED_FOR);
        let hops = match x_forwarded {
            true => last_first(headers, &FORWARDED_FOR, Hop::plain),
            false => last_first(headers, &header::FORWARDED, Hop::of_element),
        };
        let (mut client, mut tls) = (peer.address.ip(), None);
        for Hop { address, proto } in hops {
            // The nearest proxy's word on the scheme: it is the one that the others' requests came through.
            tls = tls.or(proto);
            // What is none hides who it was: it is the proxy that said so which answers for it.
            let Some(address) = address else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        let proto = last_first(headers, &FORWARDED_PROTO, is_tls);
        let tls = proto.into_iter().next().flatten().or(tls);
        Peer {
            address: SocketAddr::new(client, 0),
            tls: tls.unwrap_or(peer.tls),
            ..peer
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What is said of one hop.
struct Hop {
    address: Option<IpAddr>,
    proto: Option<bool>,
}

impl Hop {
    fn plain(text: &str) -> Self {
        Self {
            address: node(text),
            proto: None,
        }
    }

    /// `for=192.0.2.60;proto=http;by=203.0.113.43` (RFC 7239 §4); the names in any case.
    fn of_element(text: &str) -> Self {
        let pairs = || text.split(';').filter_map(|pair| pair.split_once('='));
        let value = |wanted: &str| {
            let mut named = pairs().filter(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
            named
                .next()
                .map(|(_, value)| value.trim().trim_matches('"'))
        };
        Self {
            address: value("for").and_then(node),
            proto: value("proto").and_then(is_tls),
        }
    }
}

/// The items of a list field over all its lines, the last first.
fn last_first<T>(headers: &HeaderMap, name: &HeaderName, read: impl Fn(&str) -> T) -> Vec<T> {
    let lines = headers.get_all(name).iter().rev();
    // A line that is no text has an item that says nothing.
    let items = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    items.take(MAX_HOPS).map(|item| read(item.trim())).collect()
}

/// An address as these fields have it: alone, in brackets, with a port or without.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse();
    let with_port = || text.parse().map(|address: SocketAddr| address.ip());
    address
        .or_else(|_| with_port())
        .ok()
        .map(|ip| ip.to_canonical())
}

fn is_tls(scheme: &str) -> Option<bool> {
    match scheme {
        scheme if scheme.eq_ignore_ascii_case("https") => Some(true),
        scheme if scheme.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    /// Who it is by these fields, of a request that comes from `peer` without TLS.
    fn client(peer: &str, fields: &[(&str, &str)]) -> (String, bool) {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let peer = Peer {
            address: SocketAddr::new(peer.parse().unwrap(), 7),
            tls: false,
            crowded: false,
        };
        let client = TrustedProxies(networks.into()).client(peer, &headers);
        (client.address.ip().to_string(), client.tls)
    }

    #[test]
    fn the_right_most_address_that_is_no_proxys_is_the_client() {
        let (xff, forwarded) = ("x-forwarded-for", "forwarded");
        for (peer, fields, expected) in [
            ("10.0.0.1", &[(xff, "192.0.2.1")][..], "192.0.2.1"),
            // What the client wrote itself stands left of what the proxy saw.
            ("10.0.0.1", &[(xff, "6.6.6.6, 192.0.2.1")], "192.0.2.1"),
            (
                "10.0.0.1",
                &[(xff, "6.6.6.6"), (xff, "192.0.2.1")],
                "192.0.2.1",
            ),
            (
                "10.0.0.1",
                &[(xff, "6.6.6.6, 192.0.2.1, 10.0.0.2")],
                "192.0.2.1",
            ),
            ("10.0.0.1", &[(xff, "10.0.0.9, 192.0.2.1")], "192.0.2.1"),
            ("::ffff:10.0.0.1", &[(xff, "192.0.2.1:4711")], "192.0.2.1"),
            (
                "2001:db8:1::1",
                &[(xff, "[2001:db8:2::1]:80")],
                "2001:db8:2::1",
            ),
            ("2001:db8:1::1", &[(xff, "2001:db8:2::1")], "2001:db8:2::1"),
            // Only proxies: the farthest of them.
            ("10.0.0.1", &[(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            // Who is not said, is not taken from farther left.
            ("10.0.0.1", &[(xff, "6.6.6.6, unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "6.6.6.6, ")], "10.0.0.1"),
            ("10.0.0.1", &[(xff, "")], "10.0.0.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            (
                "10.0.0.1",
                &[(forwarded, "for=6.6.6.6, For=\"192.0.2.1:8\";by=x")],
                "192.0.2.1",
            ),
            (
                "10.0.0.1",
                &[(forwarded, "for=\"[2001:db8:2::1]\"")],
                "2001:db8:2::1",
            ),
            (
                "10.0.0.1",
                &[(forwarded, "for=6.6.6.6, for=_hidden")],
                "10.0.0.1",
            ),
            // A proxy that writes the one passes a client's own other one on.
            (
                "10.0.0.1",
                &[(xff, "192.0.2.1"), (forwarded, "for=6.6.6.6")],
                "192.0.2.1",
            ),
            // Whoever comes without a proxy may write what they like.
            ("192.0.2.1", &[(xff, "6.6.6.6")], "192.0.2.1"),
            (
                "192.0.2.1",
                &[(xff, "10.0.0.1"), (forwarded, "for=10.0.0.1")],
                "192.0.2.1",
            ),
        ] {
            assert_eq!(client(peer, fields).0, expected, "{peer} {fields:?}");
        }
    }

    #[test]
    fn the_scheme_is_what_a_trusted_proxy_says_and_else_the_connections() {
        let (proto, forwarded) = ("x-forwarded-proto", "forwarded");
        for (peer, fields, expected) in [
            ("10.0.0.1", &[(proto, "https")][..], true),
            ("10.0.0.1", &[(proto, "HTTPS")], true),
            ("10.0.0.1", &[(proto, "https, http")], false),
            ("10.0.0.1", &[(proto, "http"), (proto, "https")], true),
            ("10.0.0.1", &[(proto, "gopher")], false),
            (
                "10.0.0.1",
                &[(forwarded, "for=192.0.2.1;proto=https")],
                true,
            ),
            (
                "10.0.0.1",
                &[(forwarded, "proto=https, for=192.0.2.1;proto=http")],
                false,
            ),
            ("10.0.0.1", &[], false),
            (
                "192.0.2.1",
                &[(proto, "https"), (forwarded, "proto=https")],
                false,
            ),
        ] {
            assert_eq!(client(peer, fields).1, expected, "{peer} {fields:?}");
        }
    }
}
