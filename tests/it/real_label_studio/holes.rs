//! What Label Studio lets through, and Lockgate does not; each case is shown to be open in Label Studio itself.

use http::Method;

use super::instance::Instance;
use super::session::Session;
use super::{Failures, expect};
use crate::support::client::Answer;
use crate::support::raw::Raw;

/// Every hole. The people and tasks that go are nobody else's.
pub async fn all(instance: &Instance, failures: &mut Failures) {
    not_named(instance, failures).await;
    let outcome = nothing_is_learnt(instance).await;
    failures.case(
        "a refusal says the same of what exists and what does not",
        outcome,
    );
    for (object, name) in [
        ("page.html", "HTML is no script on the editor's origin"),
        ("drawing.svg", "SVG is no script on the editor's origin"),
    ] {
        failures.case(name, sandboxed(instance, object).await);
    }
    failures.case("a 304 costs storage nothing", free_304(instance).await);
    failures.case(
        "after a logout the session's cookie is refused",
        logout(instance).await,
    );
    revocations(instance, failures).await;
}

/// What the task, the project or the prefix does not hold, and who belongs to no organization.
async fn not_named(instance: &Instance, failures: &mut Failures) {
    for (name, object, user) in [
        (
            "another project's object in the same bucket",
            "other",
            "anna",
        ),
        ("a URI that is not in the task", "unnamed", "anna"),
        ("an object outside the storage's prefix", "outside", "anna"),
        ("a user of no organization", "image.png", "outsider"),
    ] {
        let path = instance.media(instance.task("everything"), object);
        failures.case(name, closed(instance, &path, user).await);
    }
}

/// Label Studio signs a URL for it, and Lockgate answers 403.
async fn closed(instance: &Instance, path: &str, user: &str) -> Result<(), String> {
    let token = format!("Token {}", instance.user(user).token);
    let direct = instance
        .label_studio
        .get(path)
        .header("authorization", &token);
    let direct = direct.header("connection", "close").answer().await;
    expect("Label Studio itself", direct.status, 303)?;
    expect(
        "Lockgate",
        instance.get(path, user).answer().await.status,
        403,
    )?;
    let part = instance.get(path, user).range("bytes=0-0").answer().await;
    expect("Lockgate, a range", part.status, 403)
}

/// Byte for byte the same 403, but for the request's own id.
async fn nothing_is_learnt(instance: &Instance) -> Result<(), String> {
    let said = async |path: String| {
        let mut problem = instance.get(path, "anna").answer().await.json();
        problem["request_id"] = serde_json::Value::Null;
        problem
    };
    let task = instance.task("everything");
    let there = said(instance.media(task, "unnamed")).await;
    let query = instance.media(999_999, "image.png");
    expect(
        "a task that does not exist",
        said(query).await,
        there.clone(),
    )?;
    expect(
        "another project's object",
        said(instance.media(task, "other")).await,
        there,
    )
}

async fn sandboxed(instance: &Instance, object: &str) -> Result<(), String> {
    let path = instance.media(instance.task("everything"), object);
    let answer = instance.get(path, "anna").answer().await;
    expect("status", answer.status, 200)?;
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
    expect("policy", answer.header("content-security-policy"), policy)?;
    expect(
        "sniffing",
        answer.header("x-content-type-options"),
        "nosniff",
    )
}

async fn free_304(instance: &Instance) -> Result<(), String> {
    let path = instance.media(instance.task("everything"), "text.txt");
    let etag = etag_of(instance, &path, "anna").await?;
    let before = instance.metric("lockgate_storage_requests_total").await;
    for _ in 0..5 {
        let again = instance.get(&path, "anna").header("if-none-match", &etag);
        expect("status", again.answer().await.status, 304)?;
    }
    let after = instance.metric("lockgate_storage_requests_total").await;
    expect("requests to storage", after, before)
}

async fn etag_of(instance: &Instance, path: &str, user: &str) -> Result<String, String> {
    let answer = instance.get(path, user).answer().await;
    expect("status before", answer.status, 200)?;
    Ok(answer.header("etag").to_owned())
}

/// The cookie of before, which Label Studio itself still takes; another session of the same person goes on.
async fn logout(instance: &Instance) -> Result<(), String> {
    let user = instance.user("leaving");
    let mut session = Session::log_in(instance, user).await?;
    let other = Session::log_in(instance, user).await?;
    let path = instance.media(instance.task("everything"), "image.png");
    expect("before", session.get(&path).await.status, 200)?;
    expect(
        "the other session before",
        other.ask(Method::GET, &path).answer().await.status,
        200,
    )?;
    let old = session.ask(Method::GET, &path);
    let old_conditional = session.ask(Method::GET, &path).header("if-none-match", "*");
    let out = session.get("/logout").await;
    expect("the logout", out.status, 302)?;
    for (what, ask) in [
        ("the old cookie", old),
        ("the old cookie, conditionally", old_conditional),
    ] {
        let refused = ask.answer().await.status;
        expect(what, matches!(refused, 401 | 403), true)
            .map_err(|why| format!("{why}: {refused}"))?;
    }
    expect(
        "the other session",
        other.ask(Method::GET, &path).answer().await.status,
        200,
    )
}

/// Taken away all at once, waited for once, and then asked for in every way.
async fn revocations(instance: &Instance, failures: &mut Failures) {
    let everything = instance.task("everything");
    let gone = instance.tasks("passing")[0];
    let cases = [
        (
            "after removal from the organization",
            "removed",
            instance.media(everything, "image.png"),
            403,
        ),
        (
            "after deletion of the task",
            "anna",
            instance.media(gone, "image.png"),
            403,
        ),
        (
            "after the token was reset",
            "reset",
            instance.media(everything, "image.png"),
            401,
        ),
    ];
    let mut etags = Vec::new();
    for (_, user, path, _) in &cases {
        etags.push(etag_of(instance, path, user).await);
    }
    let running = Running::begin(instance, &instance.media(everything, "video.mp4")).await;
    let taken = take_away(instance, gone).await;
    failures.case("members, tasks and tokens can be taken away", taken);
    // Not for luck: this is how long a decision may be remembered, and a request that comes later must be refused.
    tokio::time::sleep(instance.max_age()).await;
    for ((name, user, path, wanted), etag) in cases.iter().zip(etags) {
        let outcome = match etag {
            Ok(etag) => refused(instance, path, user, &etag, *wanted).await,
            Err(why) => Err(why),
        };
        failures.case(name, outcome);
    }
    let name = "a body under way is cut after removal from the organization";
    failures.case(name, running.ends_short(instance).await);
}

async fn take_away(instance: &Instance, task: u64) -> Result<(), String> {
    let removed = instance.user("removed").id;
    for (method, path, user, wanted) in [
        (
            Method::DELETE,
            format!("/api/organizations/1/memberships/{removed}/"),
            "admin",
            204,
        ),
        (Method::DELETE, format!("/api/tasks/{task}/"), "admin", 204),
        (
            Method::POST,
            "/api/current-user/reset-token/".to_owned(),
            "reset",
            201,
        ),
    ] {
        let answer: Answer = instance.ask(method, &path, user).answer().await;
        expect(&path, answer.status, wanted)?;
    }
    Ok(())
}

/// Whole, in part, and where it was not modified: cached media and 304 too.
async fn refused(
    instance: &Instance,
    path: &str,
    user: &str,
    etag: &str,
    wanted: u16,
) -> Result<(), String> {
    let whole = instance.get(path, user).answer().await;
    expect("whole", whole.status, wanted)?;
    let part = instance.get(path, user).range("bytes=0-99").answer().await;
    expect("a range", part.status, wanted)?;
    let unmodified = instance
        .get(path, user)
        .header("if-none-match", etag)
        .answer()
        .await;
    expect("conditionally", unmodified.status, wanted)
}

/// A body of which the first bytes were read.
struct Running(Raw);

impl Running {
    async fn begin(instance: &Instance, path: &str) -> Self {
        let (address, token) = (instance.lockgate_address(), &instance.user("removed").token);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Token {token}\r\n\r\n"
        );
        let mut connection = Raw::send(address, request).await;
        connection.read_some(2048).await;
        Self(connection)
    }

    async fn ends_short(mut self, instance: &Instance) -> Result<(), String> {
        let length = instance.object("video.mp4").bytes().len();
        let read = self.0.read_to_end().await.len();
        expect(
            &format!("{read} bytes of {length}, cut"),
            read < length,
            true,
        )
    }
}
