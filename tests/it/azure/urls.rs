//! Signed URLs by the account's key, and signatures that others made.

use super::*;

#[tokio::test]
async fn a_url_serves_ranges_under_another_type_for_one_blob_until_its_end() {
    let Some(azurite) = started().await else {
        return;
    };
    let section = azurite.section(CONTAINER) + "delivery = 'redirect'\npresign_expiry = '90s'\n";
    let gateway = Setup::over(&section).start().await;
    azurite
        .put(
            CONTAINER,
            "a b.mp4",
            "application/octet-stream",
            Pattern(1).bytes(100),
        )
        .await;
    azurite
        .put(CONTAINER, "b.mp4", "video/mp4", Pattern(2).bytes(100))
        .await;
    let path = uri::project("1", &format!("azure-blob://{CONTAINER}/a b.mp4"));
    let redirect = gateway.get(path).answer().await;
    assert_eq!(redirect.status, 303);
    let location = redirect.header("location");
    let part = azurite.get(location, Some("bytes=10-19")).await;
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-type"], "video/mp4");
    assert!(Pattern(1).holds(10, part.body()));
    let other = location.replace("a%20b.mp4", "b.mp4");
    assert_eq!(azurite.get(&other, None).await.status(), 403);

    let azure = backend(&azurite, account_key());
    let short = azure
        .presign(&at("b.mp4"), &signed(1))
        .await
        .expect("it signs");
    assert!(short.expires_at <= SystemTime::now() + Duration::from_secs(1));
    eventually("the URL ends", async || {
        (azurite.get(short.url.expose(), None).await.status() == 403).then_some(())
    })
    .await;
    let long = azure
        .presign(&at("b.mp4"), &signed(30 * 86_400))
        .await
        .expect("it signs");
    assert!(long.expires_at <= SystemTime::now() + Duration::from_secs(7 * 86_400));
}

#[tokio::test]
async fn a_sas_reads_until_its_end_and_is_not_handed_out() {
    let Some(azurite) = started().await else {
        return;
    };
    azurite
        .put(CONTAINER, "a b.mp4", "video/mp4", Pattern(1).bytes(100))
        .await;
    let with = |sas: String| backend(&azurite, AzureCredentials::Sas(Secret::new(sas)));
    let end = SystemTime::now() + Duration::from_secs(3600);
    let azure = with(azurite.container_sas(CONTAINER, end));
    assert_eq!(
        read(&azure, "a b.mp4", 0..9, Condition::None)
            .await
            .expect("it reads"),
        Pattern(1).bytes(9)
    );
    assert_eq!(
        azure
            .list(CONTAINER, "a ", None, 10)
            .await
            .expect("it lists")
            .entries
            .len(),
        1
    );
    let expiry = azure.credential_expiry().expect("it ends");
    assert!(expiry <= end && expiry + Duration::from_secs(1) > end);
    let handed_out = azure.presign(&at("a b.mp4"), &signed(60)).await;
    assert!(matches!(handed_out, Err(BackendError::NoCredentials(_))));

    let ended = with(azurite.container_sas(CONTAINER, SystemTime::now() - Duration::from_secs(60)));
    let error = head(&ended, "a b.mp4").await.expect_err("it has ended");
    assert!(
        matches!(&error, BackendError::CredentialsUnavailable(why) if why.contains("has ended at")),
        "{error}"
    );
    let forged = azurite
        .container_sas(CONTAINER, end)
        .replace("sp=rl", "sp=rwl");
    let error = head(&with(forged), "a b.mp4")
        .await
        .expect_err("it is forged");
    assert!(matches!(error, BackendError::AccessDenied(_)), "{error}");
}
