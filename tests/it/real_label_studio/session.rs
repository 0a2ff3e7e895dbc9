//! A person with a browser's cookies: logs in by Label Studio's own form, and out again.

use std::collections::BTreeMap;

use http::Method;

use super::instance::{Instance, User};
use crate::support::client::{Answer, Ask, Client};
use crate::support::uri::percent;

/// Somebody who is logged in.
pub struct Session {
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Session {
    /// Logs in through Lockgate, by the form, with its token against forged requests.
    pub async fn log_in(instance: &Instance, user: &User) -> Result<Self, String> {
        let mut session = Self {
            client: instance.lockgate.clone(),
            cookies: BTreeMap::new(),
        };
        session.get("/user/login/").await;
        let token = session.cookies.get("csrftoken").cloned();
        let token = token.ok_or("the login page gave no csrftoken")?;
        let form = format!(
            "email={}&password={}&csrfmiddlewaretoken={token}",
            percent(&user.email),
            percent(&user.password)
        );
        let ask = session.ask(Method::POST, "/user/login/");
        let ask = ask.header("content-type", "application/x-www-form-urlencoded");
        let answer = ask.body(form).answer().await;
        session.keep(&answer);
        if answer.status == 302 && session.cookies.contains_key("sessionid") {
            return Ok(session);
        }
        Err(format!("the login was answered {}", answer.status))
    }

    /// A GET as the browser would send it; what it sets is kept.
    pub async fn get(&mut self, path: &str) -> Answer {
        let answer = self.ask(Method::GET, path).answer().await;
        self.keep(&answer);
        answer
    }

    /// A request with the cookies as they are now.
    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let pairs = self.cookies.iter();
        let cookies: Vec<String> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let ask = self.client.ask(method, path);
        if cookies.is_empty() {
            return ask;
        }
        ask.header("cookie", cookies.join("; "))
    }

    fn keep(&mut self, answer: &Answer) {
        for field in answer.headers.get_all("set-cookie") {
            let text = field.to_str().unwrap_or_default();
            let pair = text.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}
