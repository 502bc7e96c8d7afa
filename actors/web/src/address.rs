//! Where a fetch may connect: the check of a URL, and of each address that its host has.
//!
//! A host is looked up once for each request. All of its addresses must be public, and the connection goes to one of the
//! addresses that were checked: a name that gives another address a moment later changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bus_schemas::text;
use url::{Host, Url};

use crate::error::Error;

/// The longest URL that is fetched: what browsers and servers agree on.
const URL_BYTES_MAX: usize = 2_048;
/// The most bytes of a URL in a message.
const SHOWN_BYTES_MAX: usize = 256;

/// Networks of IPv4 that are not the public internet: IANA's special-purpose addresses, multicast, and what is reserved.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, and everything above it.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Networks within the global unicast addresses of IPv6 that are not the public internet, or that stand for an address of
/// IPv4: protocols with Teredo, documentation, 6to4.
const SPECIAL_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the public internet.
///
/// Of IPv6 only global unicast addresses are (2000::/3): what maps, translates or tunnels IPv4 lies outside of them or is
/// left out of them, so no address of IPv4 hides in one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let bits = address.to_bits();
            !SPECIAL_V4.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (32 - length) == 0)
        }
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            bits >> 125 == 1
                && !SPECIAL_V6
                    .iter()
                    .any(|(network, length)| (bits ^ network.to_bits()) >> (128 - length) == 0)
        }
    }
}

/// Hosts that an operator allows beside the public internet: `host`, or `host:port`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<(String, Option<u16>)>);

impl Hosts {
    /// Reads the list, or names the entry that is none.
    pub(crate) fn new(entries: &[String]) -> Result<Self, String> {
        let read = |entry: &String| {
            let url = Url::parse(&format!("http://{entry}/")).ok()?;
            let is_host = url.username().is_empty() && url.password().is_none() && url.path() == "/";
            let is_alone = is_host && url.query().is_none() && url.fragment().is_none();
            // The scheme's own port is not kept by a URL.
            let port = entry.ends_with(":80").then_some(80).or(url.port());
            is_alone.then(|| (name(&url), port))
        };
        let hosts = entries.iter().map(|entry| read(entry).ok_or_else(|| entry.clone()));
        Ok(Self(hosts.collect::<Result<_, _>>()?))
    }

    /// Whether the host of a URL is one of them, at the URL's port.
    fn have(&self, url: &Url) -> bool {
        let (name, port) = (name(url), url.port_or_known_default());
        self.0.iter().any(|(host, at)| *host == name && (at.is_none() || *at == port))
    }

    /// A URL that may be fetched, without its fragment.
    pub(crate) fn check(&self, text: &str) -> Result<Url, Error> {
        let refused = |why| Error::Url { url: shown(text), why };
        if text.len() > URL_BYTES_MAX {
            return Err(refused("a URL has at most 2,048 bytes"));
        }
        let mut url = Url::parse(text).map_err(|_| refused("a whole URL has a scheme and a host"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("the scheme is neither `http` nor `https`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("a user or a password stands in it"));
        }
        // `Url` keeps no port that is the scheme's own.
        if url.port().is_some_and(|port| !matches!(port, 80 | 443)) && !self.have(&url) {
            return Err(refused("the port is neither 80 nor 443"));
        }
        url.set_fragment(None);
        Ok(url)
    }

    /// The addresses of a URL's host, if every one of them may be connected to.
    pub(crate) fn admit(&self, url: &Url, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        if found.is_empty() {
            return Err(Error::Unreachable { host: name(url), why: "the name has no address".to_owned() });
        }
        let inside = found.iter().map(SocketAddr::ip).find(|address| !is_public(*address));
        match inside.filter(|_| !self.have(url)) {
            Some(address) => Err(Error::Address { host: name(url), address }),
            None => Ok(found),
        }
    }
}

/// A URL of a page in the one form in which URLs are compared; none if it is no such URL.
pub fn normal(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_fragment(None);
    (url.as_str().len() <= URL_BYTES_MAX).then(|| url.into())
}

/// The host of a URL, without the brackets of IPv6.
pub(crate) fn name(url: &Url) -> String {
    match url.host() {
        Some(Host::Domain(name)) => name.trim_end_matches('.').to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    }
}

/// A URL in a message.
pub(crate) fn shown(text: &str) -> String {
    text::cut(&text::one_line(text), SHOWN_BYTES_MAX)
}

#[cfg(test)]
mod tests;
