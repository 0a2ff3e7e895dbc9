use super::*;

#[test]
fn content_range_is_read_strictly() {
    for (field, read) in [
        ("bytes 0-0/1", Some((0..1, 1))),
        ("bytes 5-9/10", Some((5..10, 10))),
        ("Bytes 5-9/10", Some((5..10, 10))),
        ("bytes 5-10/10", None),
        ("bytes 9-5/10", None),
        ("bytes 0-9/*", None),
        ("bytes */10", None),
        ("bytes 0-+9/10", None),
        ("bytes=0-9/10", None),
        ("items 0-9/10", None),
        ("bytes 0-99999999999999999999/100000000000000000000", None),
        ("", None),
    ] {
        assert_eq!(content_range(field), read, "{field}");
    }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        })
        .collect()
}

#[test]
fn a_206_of_another_range_breaks_the_protocol() {
    let answer = |range: &str| headers(&[("content-range", range), ("etag", "\"v\"")]);
    assert!(partial_content(&answer("bytes 0-9/100"), &(0..10)).is_ok());
    assert!(partial_content(&answer("bytes 90-99/100"), &(90..200)).is_ok());
    for range in [
        "bytes 1-9/100",
        "bytes 0-8/100",
        "bytes 0-10/100",
        "bytes 0-9/5",
    ] {
        assert!(
            partial_content(&answer(range), &(0..10)).is_err(),
            "{range}"
        );
    }
}

/// What a client makes of a server that answers anything with `answer` and closes.
async fn answered(answer: &'static [u8]) -> BackendError {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let _ = stream.read(&mut [0; 4096]).await?;
        stream.write_all(answer).await?;
        stream.shutdown().await
    });
    let client = HttpClient::new(None, Duration::from_secs(10)).expect("a client");
    let request = Request::get(format!("http://{address}/")).body(Empty::new());
    let error = client.send(request.expect("a request")).await;
    server.abort();
    error
        .map(|response| response.status())
        .expect_err("no answer")
}

#[tokio::test]
async fn what_is_not_http_breaks_the_protocol_and_what_is_nothing_is_unavailable() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
    ] {
        let error = answered(garbage).await;
        assert!(
            matches!(error, BackendError::Protocol(_)),
            "{}: {error:?}",
            garbage.escape_ascii()
        );
    }
    for nothing in [&b""[..], b"HTTP/1.1 200"] {
        let error = answered(nothing).await;
        assert!(matches!(error, BackendError::Unavailable(_)), "{error:?}");
    }
}

#[test]
fn an_answer_without_a_strong_etag_breaks_the_protocol() {
    for fields in [vec![], vec![("etag", "W/\"v\"")], vec![("etag", "\"\"")]] {
        assert!(matches!(
            object_meta(&headers(&fields), 1),
            Err(BackendError::Protocol(_))
        ));
    }
}
