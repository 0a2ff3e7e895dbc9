use super::*;

/// As Django 5.2 signed it: all of a session's fields, compressed.
const DJANGOS: &str = ".eJylj0GOwyAMRe_idYJISWgny-57BuSASZhkIAIidabq3RuqLtr1yDv_5y-_G2zOQA984PpkOdXStqJuLdf1lxFYS2xtY6WVummgggVTVksYnYe-OUpxPMlOCnboKlC45UltiaJ6Nhb8bTegnsmXwHyjHwPTwefoBlYQ9koTuwRDy_nFfhRMmKb9urP_m700xBG9-8PsglfrvJtUMBOt6oeK20hGFb8cN9o_SJRSAem6uvgLfSsOnPP7A5qVZc8:1xUzRr:i3AcOqxFS69zQfzi4LGD4ySers7M5morYkDcylsdUWY";
const DJANGOS_UID: &str = "0b0c8f0e-6f43-4f0c-9d3a-6a4f1f6f6c11";

/// A cookie of a session, as one of its answers sets it.
fn cookie(fields: &str, signature: &str) -> String {
    format!("{}:1xUzRr:{signature}", URL_SAFE_NO_PAD.encode(fields))
}

fn anonymous(uid: &str, signature: &str) -> String {
    cookie(&format!(r#"{{"uid":"{uid}"}}"#), signature)
}

fn of_user(uid: &str, user: &str, signature: &str) -> String {
    let fields = format!(
        r#"{{"uid":"{uid}","_auth_user_id":"{user}","_session_expiry":{}}}"#,
        signature.len()
    );
    cookie(&fields, signature)
}

#[test]
fn cookies_that_follow_one_another_share_their_sessions_key() {
    let sessions = Sessions::default();
    let (first, second, third) = (
        of_user("u", "1", "a"),
        of_user("u", "1", "bb"),
        of_user("u", "1", "ccc"),
    );
    sessions.passed(Some(&first), &second);
    sessions.passed(Some(&second), &third);
    assert_eq!(sessions.of(&first), sessions.of(&second));
    assert_eq!(sessions.of(&second), sessions.of(&third));
    assert_ne!(sessions.of(&third), sessions.of(&of_user("v", "1", "d")));
}

#[test]
fn a_forged_cookie_has_a_key_of_its_own() {
    let sessions = Sessions::default();
    let (true_one, forged) = (of_user("u", "1", "true"), of_user("u", "1", "forged"));
    sessions.passed(None, &true_one);
    assert_ne!(sessions.of(&forged), sessions.of(&true_one));
    // Label Studio does not believe it, and begins another session.
    sessions.passed(Some(&forged), &anonymous("w", "x"));
    assert_ne!(sessions.of(&forged), sessions.of(&true_one));
}

#[test]
fn a_login_has_another_key_than_the_cookie_it_came_with() {
    let sessions = Sessions::default();
    let (before, after) = (anonymous("u", "a"), of_user("u", "1", "b"));
    sessions.passed(None, &before);
    sessions.passed(Some(&before), &after);
    assert_ne!(sessions.of(&before), sessions.of(&after));
}

#[test]
fn a_logout_ends_every_cookie_of_its_session_also_those_never_seen() {
    let sessions = Sessions::default();
    let (last, copied, late) = (
        of_user("u", "1", "a"),
        of_user("u", "1", "b"),
        of_user("u", "1", "c"),
    );
    sessions.end(&last);
    // An answer that was under way sets one more.
    sessions.passed(Some(&last), &late);
    for cookie in [&last, &copied, &late] {
        assert!(sessions.ended(cookie));
    }
    assert!(
        !sessions.ended(&of_user("v", "1", "a")),
        "another browser's of the same user"
    );
}

#[test]
fn a_user_is_who_label_studio_signed_a_cookie_for() {
    let sessions = Sessions::default();
    let (user, forged, nobody) = (
        of_user("u", "1", "a"),
        of_user("u", "1", "b"),
        anonymous("v", "c"),
    );
    sessions.passed(None, &user);
    sessions.passed(None, &nobody);
    let of_user = [&user, &forged, &nobody].map(|cookie| sessions.is_of_user(cookie));
    assert_eq!(of_user, [true, false, false]);
    assert!(sessions.continues(&user, &forged) && !sessions.continues(&user, &nobody));
}

#[test]
fn a_compressed_cookie_of_djangos_is_read() {
    let sessions = Sessions::default();
    sessions.end(&anonymous(DJANGOS_UID, "x"));
    assert!(sessions.ended(DJANGOS));
}

#[test]
fn a_cookie_that_cannot_be_read_is_a_session_of_its_own() {
    let sessions = Sessions::default();
    for odd in [
        "k3yofadatabasesession",
        ".eJx:1:s",
        "e30:1:s",
        "bnVsbA:1:s",
        "",
        ":",
        "::",
    ] {
        assert!(!sessions.ended(odd), "{odd}");
        sessions.passed(Some("x"), odd);
        sessions.end(odd);
        assert!(sessions.ended(odd), "{odd}");
    }
}

#[test]
fn what_inflates_without_end_is_no_payload() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![b' '; 8 << 20], 9);
    let bomb = format!(".{}:1:s", URL_SAFE_NO_PAD.encode(bomb));
    assert_eq!(payload(&bomb), None);
}

#[test]
fn neither_a_key_nor_the_table_shows_a_cookie() {
    let sessions = Sessions::default();
    sessions.end("secret");
    let shown = format!("{sessions:?} {:?}", sessions.of("secret"));
    assert!(!shown.contains("secret") && !shown.contains('['), "{shown}");
}
