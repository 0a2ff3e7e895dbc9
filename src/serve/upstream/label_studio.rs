//! What Label Studio needs of the proxy: its logouts hold.
//!
//! A cookie whose session has ended never reaches it, for it would still be taken there. Everything else passes as it is.
//! Follows Label Studio's `users/urls.py` and `users/views.py` (`logout`, behind `login_required`), and Django's
//! `contrib/admin/sites.py` and `contrib/auth/views.py` (`LogoutView`), which Label Studio has below `/admin/` and
//! `/api-auth/`.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::auth::label_studio::{Sessions, cookie};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A request to Label Studio, as far as its session is concerned.
pub(super) struct Passing {
    sessions: Arc<Sessions>,
    sent: Option<String>,
    logout: Option<Logout>,
}

/// A way to log out, by who answers it.
#[derive(Clone, Copy)]
enum Logout {
    /// Label Studio's own view, with any method, for who has logged in.
    Own,
    /// Django's `LogoutView`, by POST alone: in its admin for who may see that, in the browsable API for anybody.
    Django,
}

impl Passing {
    /// Before it goes out: leaves the session's cookie in one spelling, and none of a session that has ended.
    pub(super) fn before(sessions: &Arc<Sessions>, head: &mut Parts) -> Self {
        let sent = cookie::sent(&head.headers).filter(|cookie| !sessions.ended(cookie));
        if head.headers.contains_key(header::COOKIE) {
            match cookie::rewritten(&head.headers, sent.as_deref()) {
                Some(field) => head.headers.insert(header::COOKIE, field),
                None => head.headers.remove(header::COOKIE),
            };
        }
        let logout = logout(head).filter(|_| sent.is_some());
        if logout.is_some() {
            // Whose session ends is for the cookie alone to say: a token beside an invented cookie would make Label
            // Studio agree, and fill the list of ended sessions.
            head.headers.remove(header::AUTHORIZATION);
            head.headers.remove(API_KEY);
        }
        Self {
            sessions: sessions.clone(),
            sent,
            logout,
        }
    }

    /// When the head of its answer is in, and before the client has it: learns the new cookie, ends the old session.
    pub(super) fn after(self, status: StatusCode, headers: &HeaderMap) {
        if let (Some(sent), Some(logout)) = (self.sent.as_deref(), self.logout)
            && match logout {
                Logout::Own => was_taken(status, headers),
                Logout::Django => self.was_dropped(sent, headers),
            }
        {
            self.sessions.end(sent);
        }
        if let Some(set) = cookie::set(headers) {
            self.sessions.passed(self.sent.as_deref(), set);
        }
    }

    /// Whether Django flushed the session of somebody who had logged in (`django/contrib/auth/__init__.py`, `logout`).
    /// The status does not tell: the admin sends away whom it does not know to the same places as whom it logged out.
    fn was_dropped(&self, sent: &str, headers: &HeaderMap) -> bool {
        let follows = cookie::set(headers).is_some_and(|set| !self.sessions.continues(sent, set));
        (cookie::is_taken_away(headers) || follows) && self.sessions.is_of_user(sent)
    }
}

/// `^logout/?$` and the like.
fn logout(head: &Parts) -> Option<Logout> {
    let path: Vec<u8> = percent_decode_str(head.uri.path()).collect();
    match path.strip_suffix(b"/").unwrap_or(&path) {
        b"/logout" | b"/user/logout" => Some(Logout::Own),
        b"/admin/logout" | b"/api-auth/logout" if head.method == Method::POST => {
            Some(Logout::Django)
        }
        _ => None,
    }
}

/// Whether a logout was somebody's: who has not logged in is sent to the login page, to come back after (`next`).
fn was_taken(status: StatusCode, headers: &HeaderMap) -> bool {
    let location = headers.get(header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    let (path, query) = location
        .and_then(|location| location.split_once('?'))
        .unwrap_or_default();
    let to_login = path.trim_end_matches('/').ends_with("/user/login") && query.contains("next=");
    status.as_u16() < 400 && !to_login
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use http::Request;

    use super::*;

    fn request(path: &str, cookies: &str) -> Parts {
        let request = Request::get(path)
            .header("cookie", cookies)
            .header("authorization", "Token t")
            .header("x-api-key", "k");
        request.body(()).unwrap().into_parts().0
    }

    /// An answer's status and fields.
    fn pass(
        sessions: &Arc<Sessions>,
        path: &str,
        cookies: &str,
        answer: (u16, &[(&str, &str)]),
    ) -> Parts {
        let mut head = request(path, cookies);
        let passing = Passing::before(sessions, &mut head);
        let mut response = http::Response::builder().status(answer.0);
        for (name, value) in answer.1 {
            response = response.header(*name, *value);
        }
        let response = response.body(()).unwrap();
        passing.after(response.status(), response.headers());
        head
    }

    #[test]
    fn after_a_logout_its_cookie_is_not_sent_on_and_others_are() {
        let sessions = Arc::default();
        let sent = |cookies| pass(&sessions, "/api/tasks", cookies, (200, &[]));
        assert_eq!(
            sent("csrftoken=c; sessionid=a").headers["cookie"],
            "csrftoken=c; sessionid=a"
        );
        pass(
            &sessions,
            "/logout",
            "sessionid=a",
            (302, &[("location", "/")]),
        );
        assert_eq!(
            sent("csrftoken=c; sessionid=a").headers["cookie"],
            "csrftoken=c"
        );
        assert_eq!(
            sent("sessionid=a; sessionid=b").headers["cookie"],
            "sessionid=b"
        );
        assert!(
            !sent("sessionid=b; sessionid=\"a\"")
                .headers
                .contains_key("cookie")
        );
        assert!(!sent("sessionid=a").headers.contains_key("cookie"));
    }

    #[test]
    fn only_an_answer_that_took_the_logout_ends_the_session() {
        for (path, status, location, ended) in [
            ("/logout", 302, "/", true),
            ("/logout/", 302, "https://x.example/user/login/", true),
            ("/%6Cogout", 200, "", true),
            ("/user/logout", 302, "/", true),
            ("/logout", 302, "/user/login/?next=/logout", false),
            (
                "/logout",
                302,
                "http://x.example/user/login/?next=/logout",
                false,
            ),
            ("/logout", 500, "", false),
            ("/logout", 403, "", false),
            ("/logouts", 302, "/", false),
            ("/api/logout", 200, "", false),
        ] {
            let sessions = Arc::default();
            pass(
                &sessions,
                path,
                "sessionid=a",
                (status, &[("location", location)]),
            );
            assert_eq!(sessions.ended("a"), ended, "{path} {status} {location}");
        }
    }

    #[test]
    fn djangos_own_logouts_end_the_session_of_who_had_logged_in() {
        // {"uid":"u","_auth_user_id":"1"}, {"uid":"u"}, {"uid":"v"}
        let user = "eyJ1aWQiOiJ1IiwiX2F1dGhfdXNlcl9pZCI6IjEifQ:1:a";
        let (nobody, next) = ("eyJ1aWQiOiJ1In0:1:a", "eyJ1aWQiOiJ2In0:1:a");
        let taken_away = "sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0";
        let (followed, kept) = (format!("sessionid={next}"), format!("sessionid={user}"));
        for (method, path, known, sent, set, ended) in [
            ("POST", "/admin/logout/", true, user, taken_away, true),
            ("POST", "/api-auth/logout/", true, user, taken_away, true),
            ("POST", "/api-auth/logout/", true, user, &followed, true),
            ("POST", "/admin/logout/", true, user, &kept, false),
            ("POST", "/admin/logout/", true, user, "a=b", false),
            // No method of the view's.
            (
                "OPTIONS",
                "/api-auth/logout/",
                true,
                user,
                taken_away,
                false,
            ),
            ("GET", "/admin/logout/", true, user, taken_away, false),
            // An invented cookie, and one that everybody gets.
            ("POST", "/api-auth/logout/", false, user, taken_away, false),
            ("POST", "/api-auth/logout/", true, nobody, taken_away, false),
            ("POST", "/admin/", true, user, taken_away, false),
        ] {
            let sessions: Arc<Sessions> = Arc::default();
            if known {
                sessions.passed(None, sent);
            }
            let mut head = request(path, &format!("sessionid={sent}"));
            head.method = method.parse().unwrap();
            let passing = Passing::before(&sessions, &mut head);
            let answer = http::Response::builder().header("set-cookie", set);
            let answer = answer.status(302).body(()).unwrap();
            passing.after(answer.status(), answer.headers());
            assert_eq!(sessions.ended(sent), ended, "{method} {path} {sent} {set}");
        }
    }

    #[test]
    fn a_logout_is_asked_for_by_the_cookie_alone() {
        let sessions = Arc::default();
        let logout = pass(
            &sessions,
            "/logout",
            "sessionid=a",
            (302, &[("location", "/")]),
        );
        assert!(
            !logout.headers.contains_key("authorization")
                && !logout.headers.contains_key("x-api-key")
        );
        let other = pass(&sessions, "/api/tasks", "sessionid=a", (200, &[]));
        assert!(
            other.headers.contains_key("authorization") && other.headers.contains_key("x-api-key")
        );
    }

    #[test]
    fn the_cookies_of_answers_are_learnt() {
        let sessions: Arc<Sessions> = Arc::default();
        // {"uid":"u"} and another time and signature.
        let (first, second) = ("eyJ1aWQiOiJ1In0:1:a", "eyJ1aWQiOiJ1In0:2:b");
        assert_ne!(sessions.of(first), sessions.of(second));
        let set = format!("sessionid={second}; HttpOnly");
        let cookies = format!("sessionid={first}");
        pass(&sessions, "/", &cookies, (200, &[("set-cookie", &set)]));
        assert_eq!(sessions.of(first), sessions.of(second));
    }
}
