//! What is asked: from a request's head to a [`Route`] and a typed [`MediaRequest`].
//!
//! Pure: decides no access, reads no credential, makes no answer. Follows contract §1, RFC 3986 and RFC 9110.

use http::header::{HeaderMap, RANGE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

use super::preconditions::Preconditions;
use crate::authority::Target;
use crate::ids::{ProjectId, TaskId};
use crate::media_uri::{MAX_URI_LENGTH, MediaUri, MediaUriError};
use crate::range::RangeSpec;

/// The longest id in bytes: far above a UUID, and small enough for a log line.
const MAX_ID_LENGTH: usize = 128;

/// Where a request goes, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Media of a task, of a project, or of the local storages.
    Media(Target),
    /// `/session`.
    Session,
    /// Anything else.
    Other,
}

/// Why a request cannot be understood. `serve::error` chooses the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The media URI is none.
    #[error("the media uri cannot be understood: {0}")]
    UriNotUnderstood(#[from] MediaUriError),
    /// The query names no media.
    #[error("the query has no parameter `{parameter}`")]
    MissingUri {
        /// `fileuri` or `d`.
        parameter: &'static str,
    },
    /// The task's or project's id is empty, too long, or has control characters.
    #[error("the id in the path is not one")]
    BadTarget,
    /// The route has no such method.
    #[error("the method is not allowed here")]
    MethodNotAllowed {
        /// The methods that are, as `Allow` lists them.
        allow: &'static str,
    },
    /// There is no host, more than one, or what stands there is none (RFC 9112 §3.2).
    #[error("the request names no host, or more than one")]
    BadHost,
    /// Where the content ends can be read in two ways (RFC 9112 §6.3), or not at all.
    #[error("the content's length cannot be understood")]
    BadFraming,
    /// More fields than are taken.
    #[error("the request has too many fields")]
    TooManyFields,
    /// The head is none (RFC 9112 §3).
    #[error("the request's head is malformed")]
    Malformed,
    /// The request's target is longer than [`MAX_URI_LENGTH`].
    #[error("the request target is too long")]
    UriTooLong,
}

impl Route {
    /// Finds the route of a target. A trailing slash makes no difference, nor does how the path is percent-encoded
    /// (RFC 3986 §6.2.2): no spelling of a media path gets past this gate to what stands behind it.
    pub fn of(uri: &Uri) -> Result<Self, RequestError> {
        if uri
            .path_and_query()
            .is_some_and(|target| target.as_str().len() > MAX_URI_LENGTH)
        {
            return Err(RequestError::UriTooLong);
        }
        let path = uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut segments = path.strip_suffix('/').unwrap_or(path).split('/');
        // One more than the longest route has, so that a longer path is seen to be none.
        let segments: [Option<&str>; 4] = std::array::from_fn(|_| segments.next());
        let is = |segment: &str, name: &str| percent_decode_str(segment).eq(name.bytes());
        let media = |segment| is(segment, "resolve") || is(segment, "presign");
        match segments {
            [Some(session), None, ..] if is(session, "session") => Ok(Self::Session),
            [Some(data), Some(files), None, _] if is(data, "data") && is(files, "local-files") => {
                Ok(Self::Media(Target::AnyProject))
            }
            [Some(tasks), Some(task), Some(verb), None] if is(tasks, "tasks") && media(verb) => {
                Ok(Self::Media(Target::Task(TaskId::new(id(task)?))))
            }
            [Some(projects), Some(project), Some(verb), None]
                if is(projects, "projects") && media(verb) =>
            {
                Ok(Self::Media(Target::Project(ProjectId::new(id(project)?))))
            }
            _ => Ok(Self::Other),
        }
    }

    /// The methods of this route, as `Allow` lists them; empty where any goes. `/session` has OPTIONS, since a
    /// browser asks before it sends `Authorization` to another origin.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Media(_) => "GET, HEAD, OPTIONS",
            Self::Session => "POST, DELETE, OPTIONS",
            Self::Other => "",
        }
    }

    /// Refuses a method that the route does not have.
    pub fn check_method(&self, method: &Method) -> Result<(), RequestError> {
        let allow = self.allow();
        if allow.is_empty() || allow.split(", ").any(|allowed| allowed == method.as_str()) {
            return Ok(());
        }
        Err(RequestError::MethodNotAllowed { allow })
    }
}

fn id(segment: &str) -> Result<Cow<'_, str>, RequestError> {
    let id = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| RequestError::BadTarget)?;
    let valid = (1..=MAX_ID_LENGTH).contains(&id.len()) && !id.contains(char::is_control);
    if valid {
        Ok(id)
    } else {
        Err(RequestError::BadTarget)
    }
}

/// A GET or HEAD of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRequest {
    /// The task or project that it is asked through.
    pub target: Target,
    /// The media.
    pub uri: MediaUri,
    /// HEAD: the head alone.
    pub head_only: bool,
    /// The one range that a GET asks for; `None` answers with everything.
    pub range: Option<RangeSpec>,
    /// The conditions.
    pub preconditions: Preconditions,
}

impl MediaRequest {
    /// Reads a request whose route is `Route::Media(target)`.
    pub fn from_parts(parts: &Parts, target: Target) -> Result<Self, RequestError> {
        let uri = match &target {
            Target::Task(_) | Target::Project(_) => {
                MediaUri::from_fileuri(required(&parts.uri, "fileuri")?)?
            }
            Target::AnyProject => MediaUri::from_local_files(required(&parts.uri, "d")?)?,
        };
        Ok(Self {
            target,
            uri,
            head_only: parts.method == Method::HEAD,
            range: range(&parts.method, &parts.headers),
            preconditions: Preconditions::from_headers(&parts.headers),
        })
    }
}

/// The raw value of a parameter's first occurrence; other parameters are ignored.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let fields = uri.query()?.split('&');
    fields
        .filter_map(|field| field.split_once('='))
        .find_map(|(n, value)| (n == name).then_some(value))
}

fn required<'a>(uri: &'a Uri, parameter_name: &'static str) -> Result<&'a str, RequestError> {
    parameter(uri, parameter_name).ok_or(RequestError::MissingUri {
        parameter: parameter_name,
    })
}

/// RFC 9110 §14.2 defines `Range` for GET alone and has it ignored elsewhere. Two fields are two ranges, which may be
/// answered with everything.
fn range(method: &Method, headers: &HeaderMap) -> Option<RangeSpec> {
    let field = only(headers, RANGE)?;
    if method == Method::GET {
        RangeSpec::parse(field.as_bytes())
    } else {
        None
    }
}

/// The value of a field that stands there once.
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, target: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_path_is_a_route_with_or_without_its_slash() {
        let task = |id: &str| Ok(Route::Media(Target::Task(id.into())));
        let project = |id: &str| Ok(Route::Media(Target::Project(id.into())));
        let long = format!("/tasks/{}/resolve", "1".repeat(129));
        for (target, route) in [
            ("/tasks/7/resolve/?fileuri=x", task("7")),
            ("/tasks/7/resolve?fileuri=x", task("7")),
            ("http://host/tasks/7/presign/", task("7")),
            ("/tasks/a%20%C3%A4%2Fb/resolve/", task("a ä/b")),
            ("/t%61sks/7/r%65solve/", task("7")),
            ("/projects/42/resolve/", project("42")),
            ("/projects/42/presign", project("42")),
            (
                "/data/local-files/?d=x",
                Ok(Route::Media(Target::AnyProject)),
            ),
            ("/data/local%2Dfiles", Ok(Route::Media(Target::AnyProject))),
            ("/session", Ok(Route::Session)),
            ("/session/", Ok(Route::Session)),
            ("/", Ok(Route::Other)),
            ("/tasks/7", Ok(Route::Other)),
            ("/tasks/7/resolve/x", Ok(Route::Other)),
            ("/tasks/7/resolve//", Ok(Route::Other)),
            ("/tasks/7/annotate/", Ok(Route::Other)),
            ("//tasks/7/resolve/", Ok(Route::Other)),
            ("/data/local-files/a", Ok(Route::Other)),
            ("/Session", Ok(Route::Other)),
            ("/tasks//resolve/", Err(RequestError::BadTarget)),
            ("/tasks/%00/resolve/", Err(RequestError::BadTarget)),
            ("/tasks/%ff/resolve/", Err(RequestError::BadTarget)),
            (&long, Err(RequestError::BadTarget)),
        ] {
            assert_eq!(Route::of(&target.parse().unwrap()), route, "{target}");
        }
    }

    #[test]
    fn a_target_past_8_kib_is_too_long() {
        let target = format!("/tasks/7/resolve/?fileuri={}", "a".repeat(MAX_URI_LENGTH));
        assert_eq!(
            Route::of(&target.parse().unwrap()),
            Err(RequestError::UriTooLong)
        );
    }

    #[test]
    fn another_method_is_refused_with_those_allowed() {
        for (target, method, allow) in [
            ("/tasks/7/resolve", "GET", None),
            ("/tasks/7/resolve", "HEAD", None),
            ("/tasks/7/resolve", "OPTIONS", None),
            ("/tasks/7/resolve", "POST", Some("GET, HEAD, OPTIONS")),
            ("/tasks/7/resolve", "get", Some("GET, HEAD, OPTIONS")),
            ("/data/local-files", "DELETE", Some("GET, HEAD, OPTIONS")),
            ("/session", "POST", None),
            ("/session", "DELETE", None),
            ("/session", "GET", Some("POST, DELETE, OPTIONS")),
            ("/else", "PATCH", None),
        ] {
            let checked = Route::of(&target.parse().unwrap())
                .unwrap()
                .check_method(&method.parse().unwrap());
            let expected = allow.map_or(Ok(()), |allow| {
                Err(RequestError::MethodNotAllowed { allow })
            });
            assert_eq!(checked, expected, "{method} {target}");
        }
    }

    #[test]
    fn media_is_named_by_the_first_parameter_of_that_name() {
        let s3 = |key| MediaUri::parse(&format!("s3://b/{key}")).map_err(Into::into);
        let missing = |parameter| Err(RequestError::MissingUri { parameter });
        let task = Target::Task("7".into());
        for (query, target, uri) in [
            ("fileuri=s3://b/k", &task, s3("k")),
            ("lsref=1&fileuri=czM6Ly9iL2s=&fileuri=x", &task, s3("k")),
            ("fileuri=s3%3A%2F%2Fb%2Fa%26b%3D%23", &task, s3("a&b=#")),
            (
                "d=clips/a%20b.wav&x",
                &Target::AnyProject,
                Ok(MediaUri::parse("/data/local-files/?d=clips/a%20b.wav").unwrap()),
            ),
            ("", &task, missing("fileuri")),
            ("fileuri", &task, missing("fileuri")),
            ("d=a", &task, missing("fileuri")),
            ("fileuri=s3://b/k", &Target::AnyProject, missing("d")),
            ("fileuri=", &task, Err(MediaUriError::UnknownDialect.into())),
            (
                "d=../a",
                &Target::AnyProject,
                Err(MediaUriError::Traverses.into()),
            ),
        ] {
            let request = MediaRequest::from_parts(
                &parts("GET", &format!("/x?{query}"), &[]),
                target.clone(),
            );
            assert_eq!(request.map(|request| request.uri), uri, "{query}");
        }
    }

    #[test]
    fn a_range_is_read_on_get_alone_and_from_one_field() {
        let some = Some(RangeSpec::From { first_pos: 5 });
        for (method, fields, range) in [
            ("GET", &[][..], None),
            ("GET", &[("range", "bytes=5-")], some),
            ("GET", &[("range", "bytes=5-"), ("range", "bytes=7-")], None),
            ("GET", &[("range", "items=5-")], None),
            ("HEAD", &[("range", "bytes=5-")], None),
        ] {
            let parts = parts(method, "/x?fileuri=s3://b/k", fields);
            let request = MediaRequest::from_parts(&parts, Target::Task("7".into())).unwrap();
            assert_eq!(
                (request.range, request.head_only),
                (range, method == "HEAD"),
                "{method} {fields:?}"
            );
        }
    }
}
