//! CPU of the client's own thread per GET and per presigned URL: aws-sdk-s3 beside Lockgate's S3 room, in turns, over
//! loopback, from a server in another thread that answers from memory and checks nothing.

use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lockgate::backend::azure::Azure;
use lockgate::backend::config::{
    AzureConfig, AzureCredentials, GcsConfig, S3Config, StaticCredentials,
};
use lockgate::backend::gcs::Gcs;
use lockgate::backend::http::HttpClient;
use lockgate::backend::s3::S3;
use lockgate::backend::{Backend, Call, Condition, Conditional, Presign, PresignOptions};
use lockgate::object::{ETag, ObjectLocation};
use lockgate::secret::Secret;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 7;

fn main() {
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (sdk, own) = (sdk(address).await, own(address));
        println!("CPU of the client's thread in µs, median of {ROUNDS} interleaved rounds");
        println!(
            "{:<28}{:>12}{:>12}{:>8}",
            "", "aws-sdk-s3", "lockgate", "ratio"
        );
        for (name, size, times) in [
            ("GET of 100 KB", 100_000, 400),
            ("GET of 8 MiB", 8 << 20, 20),
        ] {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                theirs.push(cost(times, || get_by_sdk(&sdk, size)).await);
                ours.push(cost(times, || get_by_lockgate(&own, size)).await);
            }
            report(name, theirs, ours);
        }
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(cost(2_000, || presign_by_sdk(&sdk)).await);
            ours.push(cost(2_000, || presign_by_lockgate(&own)).await);
        }
        report("presigned GET", theirs, ours);
        println!("\nThe other stores over the same client, GET of 100 KB");
        let others: [(&str, Box<dyn Backend>); 2] = [
            ("gcs, anonymous", gcs(address)),
            ("azure, account key", azure(address)),
        ];
        for (name, store) in others {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(cost(400, || get_from(&*store, 100_000)).await);
            }
            rounds.sort_by(f64::total_cmp);
            println!("{name:<40}{:>12.1}", rounds[ROUNDS / 2]);
        }
    });
}

fn report(name: &str, mut theirs: Vec<f64>, mut ours: Vec<f64>) {
    theirs.sort_by(f64::total_cmp);
    ours.sort_by(f64::total_cmp);
    let (theirs, ours) = (theirs[ROUNDS / 2], ours[ROUNDS / 2]);
    println!("{name:<28}{theirs:>12.1}{ours:>12.1}{:>8.2}", theirs / ours);
}

async fn cost<F: Future<Output = ()>>(times: u32, mut work: impl FnMut() -> F) -> f64 {
    work().await;
    let before = thread_cpu();
    for _ in 0..times {
        work().await;
    }
    (thread_cpu() - before).as_secs_f64() * 1e6 / f64::from(times)
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

async fn sdk(address: SocketAddr) -> aws_sdk_s3::Client {
    let keys =
        aws_credential_types::Credentials::new("AKIDEXAMPLE", "secret", None, None, "static");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(keys)
        .response_checksum_validation(aws_sdk_s3::config::ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn get_by_sdk(client: &aws_sdk_s3::Client, size: usize) {
    let request = client
        .get_object()
        .bucket("media")
        .key(format!("{size}"))
        .if_match("\"v\"");
    let answer = request
        .range(format!("bytes=0-{}", size - 1))
        .send()
        .await
        .expect("an answer");
    let mut body = answer.body;
    let mut read = 0;
    while let Some(frame) = body.next().await {
        read += frame.expect("bytes").len();
    }
    assert_eq!(read, size);
}

async fn presign_by_sdk(client: &aws_sdk_s3::Client) {
    let expiry = PresigningConfig::expires_in(Duration::from_secs(3600)).expect("an expiry");
    let request = client
        .get_object()
        .bucket("media")
        .key("a b.png")
        .response_content_type("image/png");
    assert!(request.presigned(expiry).await.expect("a url").uri().len() > 100);
}

fn own(address: SocketAddr) -> S3 {
    let config = S3Config {
        bucket: "media".into(),
        region: Some("us-east-1".into()),
        endpoint: Some(format!("http://{address}").parse().expect("a url")),
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: Secret::new("secret"),
            session_token: None,
        }),
        ..S3Config::default()
    };
    S3::new(
        config,
        HttpClient::new(None, Duration::from_secs(10)).expect("a client"),
    )
}

fn location(key: &str) -> ObjectLocation {
    ObjectLocation {
        storage: "media".into(),
        epoch: 0,
        bucket: "media".into(),
        key: key.into(),
    }
}

fn gcs(address: SocketAddr) -> Box<dyn Backend> {
    let config = GcsConfig {
        bucket: "media".into(),
        endpoint: Some(format!("http://{address}").parse().expect("a url")),
        iam_endpoint: None,
        identity: None,
        ca_file: None,
    };
    Box::new(Gcs::new(
        config,
        HttpClient::new(None, Duration::from_secs(10)).expect("a client"),
    ))
}

fn azure(address: SocketAddr) -> Box<dyn Backend> {
    let config = AzureConfig {
        account: "account".into(),
        container: "media".into(),
        endpoint: Some(format!("http://{address}/account").parse().expect("a url")),
        credentials: AzureCredentials::AccountKey(Secret::new("c2VjcmV0")),
        ca_file: None,
    };
    Box::new(Azure::new(
        config,
        HttpClient::new(None, Duration::from_secs(10)).expect("a client"),
    ))
}

async fn get_by_lockgate(s3: &S3, size: usize) {
    let condition = Condition::IfMatch(ETag::strong("\"v\"").expect("a tag"));
    get_on(s3, size, condition).await;
}

async fn get_from(store: &dyn Backend, size: usize) {
    get_on(store, size, Condition::None).await;
}

async fn get_on(store: &dyn Backend, size: usize, condition: Condition) {
    let location = location(&size.to_string());
    let Conditional::Is(mut fetched) = store
        .get(Call::about(&location).on(condition), 0..size as u64)
        .await
        .expect("an answer")
    else {
        panic!("not modified");
    };
    let mut read = 0;
    while let Some(frame) = fetched.body.next().await {
        read += frame.expect("bytes").len();
    }
    assert_eq!(read, size);
}

async fn presign_by_lockgate(s3: &S3) {
    let options = PresignOptions {
        head_only: false,
        expiry: Duration::from_secs(3600),
        content_type: Some("image/png".into()),
    };
    assert!(
        s3.presign(&location("a b.png"), &options)
            .await
            .expect("a url")
            .url
            .expose()
            .len()
            > 100
    );
}

/// Answers `/media/SIZE` with so many bytes, in a thread of its own.
fn serve() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a socket");
            sender
                .send(listener.local_addr().expect("an address"))
                .expect("somebody waits");
            let bytes = Bytes::from(vec![7; 8 << 20]);
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let size: usize = request
                            .uri()
                            .path()
                            .rsplit('/')
                            .next()
                            .unwrap_or("")
                            .parse()
                            .unwrap_or(0);
                        let body = bytes.slice(..size);
                        async move {
                            Response::builder()
                                .status(206)
                                .header("etag", "\"v\"")
                                .header("content-range", format!("bytes 0-{}/{size}", size - 1))
                                .header("content-type", "image/png")
                                .header("x-goog-generation", "1")
                                .header("x-goog-stored-content-length", size)
                                .header("x-goog-stored-content-encoding", "identity")
                                .body(Full::new(body))
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    receiver.recv().expect("an address")
}
