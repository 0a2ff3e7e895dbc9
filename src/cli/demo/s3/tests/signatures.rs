//! Signatures, session tokens and presigned URLs: what s3s checks, and what was added to it.

use super::*;

#[tokio::test]
async fn a_wrong_or_missing_signature_is_refused() {
    let mut s3 = Fixture::new().await;
    s3.credentials = Credentials::new("id", "wrong", None, None, "test");
    assert_eq!(s3.get("abc", &[]).await.status(), StatusCode::FORBIDDEN);
    let unsigned = Request::get(s3.url("team.media", "abc"))
        .body(Empty::new())
        .unwrap();
    assert_eq!(
        s3.client.request(unsigned).await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert!(s3.server.requests().is_empty());
}

#[tokio::test]
async fn a_session_token_that_is_missing_or_wrong_is_refused() {
    let mut s3 = Fixture::new().await;
    let key = AccessKey {
        session_token: Some("token".into()),
        ..AccessKey::new("id", "secret")
    };
    s3.server = S3Server::start([key]).await.unwrap();
    s3.server.put("team.media", "abc", b"0".to_vec(), None);
    for (token, status) in [(Some("token"), 200), (None, 400), (Some("other"), 400)] {
        s3.credentials = Credentials::new("id", "secret", token.map(str::to_owned), None, "test");
        assert_eq!(
            s3.get("abc", &[]).await.status().as_u16(),
            status,
            "{token:?}"
        );
        let request = Request::get(s3.url("team.media", "abc"))
            .body(Empty::new())
            .unwrap();
        let presigned = s3.signed(request, Some((Duration::from_secs(60), SystemTime::now())));
        assert_eq!(
            s3.client
                .request(presigned)
                .await
                .unwrap()
                .status()
                .as_u16(),
            status,
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn a_presigned_url_serves_its_content_type_until_it_expires() {
    let s3 = Fixture::new().await;
    let url = s3.url("team.media", "abc") + "?response-content-type=image%2Fpng";
    let now = SystemTime::now();
    for (at, status) in [(now, 200), (now - Duration::from_secs(120), 403)] {
        let request = Request::get(&url).body(Empty::new()).unwrap();
        let request = s3.signed(request, Some((Duration::from_secs(60), at)));
        let response = s3.client.request(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        if status == 200 {
            assert_eq!(header(&response, "content-type"), "image/png");
        }
    }
    let request = s3.signed(
        Request::get(&url).body(Empty::new()).unwrap(),
        Some((Duration::from_secs(60), now)),
    );
    let tampered = request.uri().to_string().replace("/abc?", "/abd?");
    let tampered = Request::get(tampered).body(Empty::new()).unwrap();
    assert_eq!(
        s3.client.request(tampered).await.unwrap().status(),
        StatusCode::FORBIDDEN
    );
    assert!(s3.server.requests().iter().all(|request| request.presigned));
}
