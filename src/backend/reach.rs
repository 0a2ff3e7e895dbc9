//! Which addresses storage may be at, where others than the operator say where it is: no metadata service, nothing on
//! the link, and the machine itself only where that is said.
//!
//! Looked at when a connection is made, at the very addresses that are connected to: a name that means another address
//! a moment later (DNS rebinding) gains nothing. Behind a forward proxy it is the proxy that resolves and connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services that are not link-local: Alibaba, Azure's wire server, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The first two groups of metadata services in IPv6: EC2 (`fd00:ec2::254`, and pod identity beside it), Google.
const METADATA_V6: [[u16; 2]; 2] = [[0xfd00, 0x0ec2], [0xfd20, 0x00ce]];

/// Where connections may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Wherever the operator's configuration says.
    Anywhere,
    /// To storage that somebody else names.
    Elsewhere {
        /// Whether it may be on this machine.
        loopback: bool,
    },
}

/// The address is none that storage may have.
#[derive(Debug, thiserror::Error)]
#[error("storage may not be at a link-local, metadata or loopback address")]
pub struct Forbidden;

impl Reach {
    /// Whether an address may be connected to.
    pub fn allows(self, address: IpAddr) -> bool {
        let Self::Elsewhere { loopback } = self else {
            return true;
        };
        match embedded(address) {
            IpAddr::V4(v4) => {
                let here = v4.is_loopback() || v4.octets()[0] == 0;
                let metadata = v4.is_link_local() || METADATA_V4.contains(&v4);
                !metadata && (loopback || !here)
            }
            IpAddr::V6(v6) => {
                let groups = v6.segments();
                let here = v6.is_loopback() || v6.is_unspecified();
                let metadata = METADATA_V6.contains(&[groups[0], groups[1]]);
                !v6.is_unicast_link_local() && !metadata && (loopback || !here)
            }
        }
    }

    /// Whether a URL's host may be connected to; a name is looked at when it is resolved.
    pub(super) fn allows_host(self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse().map_or(true, |address| self.allows(address))
    }
}

/// The IPv4 address that an IPv6 one leads to: mapped (RFC 4291 §2.5.5.2), or behind a translator (RFC 6052 §2.1).
fn embedded(address: IpAddr) -> IpAddr {
    let v6: Ipv6Addr = match address.to_canonical() {
        IpAddr::V6(v6) => v6,
        v4 @ IpAddr::V4(_) => return v4,
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => IpAddr::V6(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_out_of_reach_and_loopback_unless_it_is_said() {
        for (address, elsewhere, beside) in [
            ("52.216.1.1", true, true),
            ("10.0.0.7", true, true),
            ("192.168.1.4", true, true),
            ("2600:1f18::1", true, true),
            ("fd12::1", true, true),
            ("169.254.169.254", false, false),
            ("169.254.170.2", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("fd00:ec2::23", false, false),
            ("fd20:ce::254", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("192.0.0.192", false, false),
            ("127.0.0.1", false, true),
            ("127.8.9.10", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("0.0.0.0", false, true),
            ("::", false, true),
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            let reach = |loopback| Reach::Elsewhere { loopback }.allows(ip);
            assert_eq!(
                (reach(false), reach(true)),
                (elsewhere, beside),
                "{address}"
            );
            assert!(Reach::Anywhere.allows(ip));
            let bracketed = format!("[{address}]");
            let host = if ip.is_ipv6() { &bracketed } else { address };
            assert_eq!(
                Reach::Elsewhere { loopback: false }.allows_host(host),
                elsewhere
            );
        }
    }
}
