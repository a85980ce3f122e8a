//! The clients by which workers reach repositories, vendors and the trace collector.
//!
//! Guarantees: connecting and waiting for the next byte are bounded, a stream as a whole is not; link-local addresses,
//! behind which clouds keep their metadata and its credentials, are refused by number and after name resolution; a
//! redirect is followed only on the same host, and only where Git needs it. Private addresses are allowed: repositories
//! and models may be self-hosted. Never: a machine's proxy setting for a loopback address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, RequestBuilder};
use url::{Host, Url};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence of a vendor or a repository in the middle of an answer: a model may think for minutes.
const SILENCE: Duration = Duration::from_secs(300);
/// Redirects that are followed in a row.
const MAX_REDIRECTS: usize = 5;

/// The address may not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("link-local addresses are refused, because cloud machines keep their credentials there")]
pub(crate) struct ForbiddenAddress;

/// Clients for outgoing requests. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Follows no redirect: what carries a key goes where the tenant said and nowhere else.
    api: Pair,
    /// Follows redirects on the same host.
    git: Pair,
}

/// One client that takes the machine's proxy settings, and one for addresses of this very machine that does not.
#[derive(Debug, Clone)]
struct Pair {
    outside: Client,
    loopback: Client,
}

impl Http {
    /// Builds the clients.
    ///
    /// # Errors
    /// When the TLS backend is missing or the machine has no root certificates.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        Ok(Self { api: Pair::new(Policy::none)?, git: Pair::new(|| Policy::custom(same_host))? })
    }

    /// A request to a vendor or collector.
    ///
    /// # Errors
    /// When the address is forbidden.
    pub(crate) fn api(&self, method: http::Method, url: Url) -> Result<RequestBuilder, ForbiddenAddress> {
        self.api.request(method, url)
    }

    /// A request to a repository.
    ///
    /// # Errors
    /// When the address is forbidden.
    pub(crate) fn git(&self, method: http::Method, url: Url) -> Result<RequestBuilder, ForbiddenAddress> {
        self.git.request(method, url)
    }
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "this is the room where clients are built")]
    fn new(redirects: impl Fn() -> Policy) -> Result<Self, reqwest::Error> {
        let builder = || {
            Client::builder()
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .redirect(redirects())
                .dns_resolver(Arc::new(Guarded))
                .user_agent(concat!("agentworks/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self { outside: builder().build()?, loopback: builder().no_proxy().build()? })
    }

    fn request(&self, method: http::Method, url: Url) -> Result<RequestBuilder, ForbiddenAddress> {
        if forbidden_host(&url) {
            return Err(ForbiddenAddress);
        }
        let client = if is_loopback(&url) { &self.loopback } else { &self.outside };
        Ok(client.request(method, url))
    }
}

fn same_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    let stays = from.is_some_and(|from| {
        from.host() == attempt.url().host()
            // From https to http would lay the credential open.
            && (from.scheme() == attempt.url().scheme() || attempt.url().scheme() == "https")
    });
    if stays && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// An address written as a number is never resolved, so it is looked at here.
fn forbidden_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => forbidden(address.into()),
        Some(Host::Ipv6(address)) => forbidden(address.into()),
        Some(Host::Domain(_)) => false,
        None => true,
    }
}

fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                // The metadata service that AWS answers on IPv6.
                || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
                || address.to_ipv4_mapped().is_some_and(|inner: Ipv4Addr| inner.is_link_local())
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Resolves names and leaves out what may not be asked.
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|found| !forbidden(found.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err(ForbiddenAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The reason of a failed request without the address, which may name what a tenant wants kept to itself.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    let kind = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    format!("{kind}: {source}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_forbidden_and_private_ones_are_not() {
        for bad in [
            "http://169.254.169.254/latest",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            // The URL parser reads every way to write a number.
            "http://2852039166/",
            "http://0xa9fea9fe/",
        ] {
            assert!(forbidden_host(&Url::parse(bad).unwrap()), "{bad}");
        }
        for good in ["http://127.0.0.1:1/", "https://10.0.0.1/", "http://[fd00::1]/", "https://host.example/"] {
            assert!(!forbidden_host(&Url::parse(good).unwrap()), "{good}");
        }
        assert!(is_loopback(&Url::parse("http://localhost:1/").unwrap()));
    }
}
