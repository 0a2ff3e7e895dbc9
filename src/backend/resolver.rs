//! From a storage's name to its addresses, by the system's resolver: bounded in time and in number, and remembered by
//! nobody, so that a name that moves is followed by the next connection.
//!
//! The system's resolver blocks a thread for as long as its own configuration says (30 seconds are common); who waits
//! for it here waits no longer than for a connection.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::Semaphore;
use tower_service::Service;

use super::reach::{Forbidden, Reach};

/// A name that is not resolved in this time is down: as long as a connection may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A resolver that hangs holds this many threads and no more; those who wait for one wait no longer than for a name.
const MAX_LOOKUPS: usize = 16;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Resolves names; clones share what bounds it.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    lookups: Arc<Semaphore>,
    reach: Reach,
}

impl Resolver {
    /// The system's.
    pub(super) fn of_system() -> Self {
        // The port is the connector's to set.
        Self::by(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    /// By a lookup that may block.
    pub(super) fn by(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            lookup: Arc::new(lookup),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            reach: Reach::Anywhere,
        }
    }

    /// The same, for those of a name's addresses that are within reach.
    pub(super) fn within(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// What is within reach.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    async fn resolve(self, name: Name) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let reach = self.reach;
        let looked_up = async {
            let turn = self.lookups.acquire_owned().await;
            let lookup = self.lookup.clone();
            // A lookup cannot be called off: it keeps its turn to its own end, whoever still waits for it.
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                lookup(name.as_str())
            })
            .await
            .map_err(io::Error::other)?
        };
        match tokio::time::timeout(RESOLVE_TIMEOUT, looked_up).await {
            Ok(addresses) => {
                let mut within = addresses?;
                let known = !within.is_empty();
                within.retain(|address| reach.allows(address.ip()));
                match within.is_empty() && known {
                    true => Err(Forbidden.into()),
                    false => Ok(within.into_iter()),
                }
            }
            Err(_) => Err("the name was not resolved in time".into()),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use http::Request;
    use http_body_util::Empty;
    use hyper_util::client::proxy::matcher::Matcher;

    use super::*;
    use crate::backend::BackendError;
    use crate::backend::http::HttpClient;
    use crate::backend::stub::{Stub, answer};

    fn client(resolver: Resolver) -> HttpClient {
        let proxies = Matcher::builder().build();
        HttpClient::through(proxies, resolver, None, Duration::from_secs(20)).expect("a client")
    }

    async fn ask(client: &HttpClient) -> Result<u16, BackendError> {
        let request = Request::get("http://storage.test/").body(Empty::new());
        let answer = client.send(request.expect("a request")).await;
        answer.map(|answer| answer.status().as_u16())
    }

    /// Where a server is that answers so, and leaves after each answer.
    async fn server(status: u16) -> (Stub, SocketAddr) {
        let stub = Stub::start(None, move |_| {
            answer(status, &[("connection", "close")], "")
        });
        let stub = stub.await;
        let address = SocketAddr::from(([127, 0, 0, 1], stub.port));
        (stub, address)
    }

    #[tokio::test]
    async fn a_name_that_moves_is_followed_by_the_next_connection() {
        let ((_first, here), (_second, there)) = (server(200).await, server(204).await);
        let addresses = Mutex::new(vec![there, here]);
        let moved = move |_: &str| {
            Ok(addresses
                .lock()
                .expect("no panic")
                .pop()
                .into_iter()
                .collect())
        };
        let client = client(Resolver::by(moved));
        assert_eq!(ask(&client).await.expect("an answer"), 200);
        assert_eq!(ask(&client).await.expect("an answer"), 204);
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_for_a_moment_is_asked_about_again() {
        let (_stub, address) = server(200).await;
        let answers = Mutex::new(vec![
            Ok(vec![address]),
            Err(io::Error::other("no such name")),
        ]);
        let client = client(Resolver::by(move |_| {
            answers
                .lock()
                .expect("no panic")
                .pop()
                .expect("two lookups")
        }));
        let error = ask(&client).await.expect_err("no name");
        assert!(matches!(error, BackendError::Unavailable(_)), "{error}");
        assert_eq!(ask(&client).await.expect("an answer"), 200);
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_is_waited_for_no_longer_than_a_connection() {
        let (ends, hangs) = mpsc::channel::<()>();
        let hangs = Mutex::new(hangs);
        let client = client(Resolver::by(move |_| {
            let _ = hangs.lock().expect("no panic").recv();
            Err(io::Error::other("at last"))
        }));
        let error = ask(&client).await.expect_err("no answer");
        let text = error.to_string();
        assert!(matches!(error, BackendError::Unavailable(_)), "{text}");
        assert!(text.contains("not resolved in time"), "{text}");
        drop(ends);
    }

    #[tokio::test]
    async fn a_name_is_looked_at_by_what_it_means_when_it_is_connected_to() {
        let resolve = async |name: &str, loopback| {
            let name: Name = name.parse().expect("a name");
            Resolver::of_system()
                .within(Reach::Elsewhere { loopback })
                .call(name)
                .await
        };
        let refused = resolve("localhost", false)
            .await
            .expect_err("it is refused");
        assert!(refused.is::<Forbidden>(), "{refused}");
        assert!(resolve("localhost", true).await.is_ok());
        // The system takes a number for an address.
        let refused = resolve("2852039166", true)
            .await
            .expect_err("169.254.169.254");
        assert!(refused.is::<Forbidden>(), "{refused}");
    }
}
