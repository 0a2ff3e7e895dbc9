//! Connections to storage: straight, or through the proxy that the environment names for the host.
//!
//! `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are understood as curl does, so that each storage is proxied or not by
//! its host's name. Only `https` storage goes through a proxy, by CONNECT (RFC 9110 §9.3.6): the proxy sees neither
//! keys nor bytes. Names no secret of the proxy in an error.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpStream;
use tower_service::Service;
use url::Url;

use super::reach::{Forbidden, Reach};
use super::resolver::Resolver;

type BoxError = Box<dyn Error + Send + Sync>;

/// The proxy that the environment names for a server, as a URL; none for servers that are not `https`.
pub fn proxy_of(server: &Url) -> Option<Url> {
    let destination: Uri = server.as_str().parse().ok()?;
    let proxy = Matcher::from_env().intercept(&destination)?;
    let is_tls = destination.scheme() == Some(&Scheme::HTTPS);
    Url::parse(&proxy.uri().to_string()).ok().filter(|_| is_tls)
}

/// Connects over TCP to what is within reach, through a proxy where one is named.
#[derive(Clone)]
pub(super) struct ProxyConnector {
    tcp: HttpConnector<Resolver>,
    /// The proxy is the operator's, wherever it is.
    to_proxy: HttpConnector<Resolver>,
    proxies: Arc<Matcher>,
    reach: Reach,
}

impl ProxyConnector {
    /// `names` says what is within reach, too.
    pub(super) fn new(proxies: Matcher, names: Resolver, connect_timeout: Duration) -> Self {
        let connector = |names| {
            let mut tcp = HttpConnector::new_with_resolver(names);
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(connect_timeout));
            tcp
        };
        Self {
            reach: names.reach(),
            to_proxy: connector(names.clone().within(Reach::Anywhere)),
            tcp: connector(names),
            proxies: Arc::new(proxies),
        }
    }
}

impl Service<Uri> for ProxyConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(BoxError::from)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        // An address is never resolved.
        if !self
            .reach
            .allows_host(destination.host().unwrap_or_default())
        {
            return Box::pin(async { Err(Forbidden.into()) });
        }
        let is_tls = destination.scheme() == Some(&Scheme::HTTPS);
        match self.proxies.intercept(&destination).filter(|_| is_tls) {
            Some(proxy) => Box::pin(tunnel(self.to_proxy.clone(), proxy, destination)),
            None => {
                let connecting = self.tcp.call(destination);
                Box::pin(async move { connecting.await.map_err(BoxError::from) })
            }
        }
    }
}

async fn tunnel(
    tcp: HttpConnector<Resolver>,
    proxy: Intercept,
    destination: Uri,
) -> Result<TokioIo<TcpStream>, BoxError> {
    let address = proxy
        .uri()
        .authority()
        .map_or("", |authority| authority.as_str());
    if proxy.uri().scheme() != Some(&Scheme::HTTP) {
        return Err(format!(
            "the proxy {address} is not an http:// one, and others are not spoken to"
        )
        .into());
    }
    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
    if let Some(credentials) = proxy.basic_auth() {
        tunnel = tunnel.with_auth(credentials.clone());
    }
    let connected = tunnel.call(destination).await;
    connected.map_err(|error| {
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        format!("through the proxy {address}: {error}{cause}").into()
    })
}

#[cfg(test)]
mod tests;
