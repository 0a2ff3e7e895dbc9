//! Runs the demo: the real thing with the demo's page in front of it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use futures_util::StreamExt;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;

use super::{Demo, Router};
use crate::app::systemd::Manager;
use crate::app::{self, Source};
use crate::cli::fail;
use crate::cli::serve::{Signals, until_stopped};
use crate::serve::Front;
use crate::serve::body::Body;
use crate::telemetry::{Abort, logging};

/// Serves the demo at `listen` until it is stopped.
pub async fn run(listen: SocketAddr) -> ExitCode {
    if let Err(error) = logging::init("warn") {
        return fail(&error);
    }
    let signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let demo = match Demo::prepare(listen).await {
        Ok(demo) => demo,
        Err(error) => return fail(&error),
    };
    // The demo is the same everywhere: the environment has no say in it.
    let source = Source {
        file: Some(demo.config_path()),
        environment: Vec::new(),
    };
    let page = Arc::new(Page::default());
    match app::start(source, Some(page.clone())).await {
        Ok(running) => {
            page.open(demo.router(running.access_log().subscribe()));
            println!(
                "Lockgate demo: open http://{}/ in a browser. Ctrl-C stops it.",
                running.local_addr()
            );
            println!(
                "Its configuration and access list, to look at and to change: {}",
                demo.dir().display()
            );
            until_stopped(running, signals, &Manager::default()).await
        }
        Err(error) => fail(&error),
    }
}

/// The demo's page, once there is an access log to show.
#[derive(Default)]
struct Page(OnceLock<Router>);

impl Page {
    fn open(&self, router: Router) {
        // It is opened once: nobody else holds this page.
        let _ = self.0.set(router);
    }
}

impl Front for Page {
    fn answer(&self, parts: &Parts) -> Option<Response<Body>> {
        let mut request = Request::new(());
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        let answer = self.0.get()?.answer(&request)?;
        Some(answer.map(|body| {
            let frames = body
                .into_data_stream()
                .map(|frame| frame.map_err(|never| match never {}));
            Body::endless(Box::pin(frames.map(|frame: Result<_, Abort>| frame)))
        }))
    }
}
