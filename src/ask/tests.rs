use futures_util::future::join_all;

use super::scripted::{Scripted, json, see_other, status};
use super::*;

fn fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("authorization", HeaderValue::from_static("Token anna"));
    fields
}

fn asker(base: &Url) -> Asker {
    Asker::new(base, None).expect("an asker")
}

#[tokio::test]
async fn each_answer_means_one_thing() {
    let studio = Scripted::start(|question| match question.path.as_str() {
        "/told" => json("[]"),
        "/401" => status(401),
        "/403" => status(403),
        "/404" => status(404),
        "/login" => (
            302,
            "location: /user/login/?next=/x\r\n".into(),
            String::new(),
        ),
        "/elsewhere" => see_other("https://s3/k?sig=0b5e"),
        "/nowhere" => status(302),
        "/424" => status(424),
        _ => status(500),
    })
    .await;
    let asker = asker(&studio.url);
    let what = async |path| asker.what(path, &fields()).await;
    assert!(matches!(what("/told").await, Ok(Answer::Told(body)) if &body[..] == b"[]"));
    assert!(matches!(what("/401").await, Ok(Answer::NotAuthenticated)));
    assert!(matches!(what("/login").await, Ok(Answer::NotAuthenticated)));
    assert!(matches!(what("/403").await, Ok(Answer::Refused)));
    assert!(matches!(what("/404").await, Ok(Answer::Refused)));
    for (path, code) in [("/nowhere", 302), ("/424", 424), ("/500", 500)] {
        assert_eq!(
            what(path).await.err(),
            Some(AskError::Status(code)),
            "{path}"
        );
    }
    let place = async |path| asker.place(path, &fields()).await;
    let elsewhere = place("/elsewhere").await.expect("an answer");
    assert!(!format!("{elsewhere:?}").contains("0b5e"));
    assert!(matches!(elsewhere, Answer::Elsewhere(url) if url.expose() == "https://s3/k?sig=0b5e"));
    assert!(matches!(place("/told").await, Ok(Answer::Streams)));
    assert!(matches!(place("/424").await, Ok(Answer::Streams)));
    assert_eq!(studio.count("/elsewhere"), 1);
}

#[tokio::test]
async fn whether_media_is_sent_is_told_by_a_status_alone() {
    let studio = Scripted::start(|question| {
        let code = question.path[1..].parse().expect("a status");
        status(code)
    })
    .await;
    let asker = asker(&studio.url);
    let sends = async |path| asker.sends(path, &fields()).await;
    for path in ["/200", "/206", "/304", "/416"] {
        assert!(matches!(sends(path).await, Ok(Answer::Streams)), "{path}");
    }
    assert!(matches!(sends("/401").await, Ok(Answer::NotAuthenticated)));
    for path in ["/403", "/404", "/410"] {
        assert!(matches!(sends(path).await, Ok(Answer::Refused)), "{path}");
    }
    for (path, code) in [("/302", 302), ("/424", 424), ("/503", 503)] {
        assert_eq!(sends(path).await.err(), Some(AskError::Status(code)));
    }
}

#[tokio::test]
async fn a_question_carries_the_callers_credential_and_nothing_that_was_set_before() {
    let studio = Scripted::start(|_| {
        (
            200,
            "set-cookie: sessionid=other; Path=/\r\n".into(),
            "{}".into(),
        )
    })
    .await;
    let mut base = studio.url.clone();
    base.set_path("/studio/");
    let asker = asker(&base);
    for _ in 0..2 {
        assert!(asker.what("/api/x", &fields()).await.is_ok());
    }
    assert!(asker.place("/api/y", &HeaderMap::new()).await.is_ok());
    let asked = studio.asked();
    assert!(asked.iter().all(|it| !it.fields.contains_key("cookie")));
    assert_eq!(asked[1].path, "/studio/api/x");
    assert_eq!(asked[1].fields["authorization"], "Token anna");
    assert_eq!(asked[1].fields["accept"], "application/json");
    assert!(asked[1].fields["user-agent"].starts_with("lockgate/"));
    assert!(!asked[2].fields.contains_key("authorization"));
    assert_eq!(asked[2].fields["range"], "bytes=0-0");
}

#[tokio::test]
async fn only_so_many_questions_are_under_way() {
    let studio = Scripted::start(|_| json("{}")).await;
    studio.hold(true);
    let asker = asker(&studio.url);
    let fields = fields();
    let all = join_all((0..30).map(|_| asker.what("/api/x", &fields)));
    let newcomers = join_all((0..10).map(|_| asker.what_newcomer("/who", &fields)));
    let let_go = async {
        // The rest cannot arrive before one of these is answered.
        while studio.count("/") < MAX_UNDER_WAY + MAX_NEWCOMERS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let under_way = (studio.count("/api/x"), studio.count("/who"));
        studio.hold(false);
        under_way
    };
    let (answers, newcomers, under_way) = tokio::join!(all, newcomers, let_go);
    assert_eq!(under_way, (MAX_UNDER_WAY, MAX_NEWCOMERS));
    assert!(answers.iter().chain(&newcomers).all(Result::is_ok));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let studio = Scripted::start(|_| json(" ".repeat(MAX_ANSWER_BYTES + 1))).await;
    let answer = asker(&studio.url).what("/", &HeaderMap::new()).await;
    assert!(matches!(answer, Err(AskError::Body(_))), "{answer:?}");
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let mut studio = Scripted::start(|_| json("{}")).await;
    studio.stop().await;
    let answer = asker(&studio.url).what("/", &HeaderMap::new()).await;
    assert!(
        matches!(answer, Err(AskError::Unreachable(_))),
        "{answer:?}"
    );
}

#[test]
fn a_ca_file_without_a_certificate_is_an_error() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\n!").expect("written");
    let https: Url = "https://studio.example.com".parse().expect("a URL");
    assert!(Asker::new(&https, Some(file.path())).is_err());
}

#[tokio::test]
async fn however_many_kept_connections_have_died_a_question_is_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Two connections answer once, at the same time, and then take a question without a word: so does uwsgi.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        let mut conversations = tokio::task::JoinSet::new();
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let both = both.clone();
            conversations.spawn(async move {
                let mut question = [0; 4096];
                assert!(stream.read(&mut question).await.unwrap() > 0);
                if number < 2 {
                    both.wait().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
                stream.write_all(answer).await.unwrap();
                // What comes then is the next question, or the end.
                let _ = stream.read(&mut question).await;
            });
        }
    });
    let asker = asker(&url.parse().unwrap());
    let nobody = HeaderMap::new();
    let (one, other) = tokio::join!(asker.what("/1", &nobody), asker.what("/2", &nobody));
    assert!(one.is_ok() && other.is_ok());
    assert!(matches!(
        asker.what("/3", &nobody).await,
        Ok(Answer::Told(_))
    ));
}

#[test]
fn a_signed_url_is_no_login_page_whatever_its_key() {
    for (location, login) in [
        ("/user/login/?next=/x", true),
        ("/user/login", true),
        ("/ls/user/login/?next=/x", true),
        (
            "https://s3.test/media/user/login/a.mp4?X-Amz-Signature=x",
            false,
        ),
        ("https://media.s3.test/user/login/?X-Amz-Signature=x", false),
        ("//s3.test/user/login", false),
        ("/data/upload/user/login.png", false),
    ] {
        assert_eq!(super::is_login(location), login, "{location}");
    }
}
