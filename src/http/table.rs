//! The one route table: method, template, auth rule, body limit. It drives routing, 404 versus
//! 405 with `Allow`, metric labels, the OpenAPI test and (with tokens) the authorization matrix.
//!
//! A row without a handler does not compile: `filters` matches over [`RouteId`].

use hyper::Method;

use crate::limits::{BATCH_BODY_BYTES_MAX, Limits};

/// Names a row; `filters` maps it to its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteId {
    PostMessage,
    GetMessage,
    ListMessages,
    AckMessages,
    PostBatch,
    DeleteMessage,
    Stream,
    Socket,
    PushSamples,
    RegisterRun,
    FinishRun,
    ImportRun,
    ListRuns,
    GetRun,
    RunSeries,
    RunEvents,
    ControlRun,
    RunReport,
    DeleteRun,
    Health,
    Ready,
    Status,
    Metrics,
    OpenApi,
    Page,
    PageByName,
    Asset,
}

/// Who may call a route, by the roles of the HTTP contract. In open mode everybody has every role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, whatever the Host and Origin: what probes and containers ask.
    Probe,
    /// Anybody who passes the open mode's guards.
    Nobody,
    /// Users for themselves, admins for anyone.
    User,
    /// Users too, because a client may ask how the relay is.
    Status,
    /// Monitors and admins.
    Monitor,
    /// Reporters and admins.
    Reporter,
    /// Monitors, reporters and admins.
    RunReader,
    Admin,
}

/// Which limit a body falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLimit {
    /// The route reads none.
    None,
    Message,
    Batch,
    Run,
}

impl BodyLimit {
    pub(crate) fn bytes(self, limits: &Limits) -> usize {
        match self {
            BodyLimit::None => 0,
            BodyLimit::Message => limits.body_bytes_max,
            BodyLimit::Batch => BATCH_BODY_BYTES_MAX,
            BodyLimit::Run => limits.run_body_bytes_max,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) id: RouteId,
    pub(crate) method: Method,
    /// The path with at most one `{name}` segment.
    pub(crate) template: &'static str,
    pub(crate) access: Access,
    pub(crate) body: BodyLimit,
    /// The template before and after its `{name}`; `None` behind a literal template.
    before: &'static str,
    after: Option<&'static str>,
}

/// Hot routes first; where two rows match one path and method, the earlier row wins, so literal
/// templates stand before those with a parameter.
pub(crate) static ROUTES: &[Route] = {
    use Access as A;
    use BodyLimit as B;
    use RouteId as R;
    &[
        row(
            R::PostMessage,
            Method::POST,
            "/api/v1/messages",
            A::User,
            B::Message,
        ),
        row(
            R::GetMessage,
            Method::GET,
            "/api/v1/messages/{id}",
            A::User,
            B::None,
        ),
        row(
            R::ListMessages,
            Method::GET,
            "/api/v1/messages",
            A::User,
            B::None,
        ),
        row(
            R::AckMessages,
            Method::POST,
            "/api/v1/messages/ack",
            A::User,
            B::Message,
        ),
        row(
            R::PostBatch,
            Method::POST,
            "/api/v1/messages/batch",
            A::User,
            B::Batch,
        ),
        row(R::Health, Method::GET, "/health", A::Probe, B::None),
        row(
            R::PushSamples,
            Method::POST,
            "/api/v1/runs/{id}/samples",
            A::Reporter,
            B::Run,
        ),
        row(
            R::DeleteMessage,
            Method::DELETE,
            "/api/v1/messages/{id}",
            A::User,
            B::None,
        ),
        row(R::Stream, Method::GET, "/api/v1/stream", A::User, B::None),
        row(R::Socket, Method::GET, "/api/v1/ws", A::User, B::None),
        row(R::Ready, Method::GET, "/ready", A::Probe, B::None),
        row(R::Status, Method::GET, "/api/v1/status", A::Status, B::None),
        row(R::Metrics, Method::GET, "/metrics", A::Monitor, B::None),
        row(
            R::RegisterRun,
            Method::POST,
            "/api/v1/runs",
            A::Reporter,
            B::Run,
        ),
        row(
            R::ImportRun,
            Method::POST,
            "/api/v1/runs/import",
            A::Reporter,
            B::Run,
        ),
        row(
            R::FinishRun,
            Method::POST,
            "/api/v1/runs/{id}/finish",
            A::Reporter,
            B::Run,
        ),
        row(
            R::ListRuns,
            Method::GET,
            "/api/v1/runs",
            A::RunReader,
            B::None,
        ),
        row(
            R::RunSeries,
            Method::GET,
            "/api/v1/runs/{id}/series",
            A::RunReader,
            B::None,
        ),
        row(
            R::RunEvents,
            Method::GET,
            "/api/v1/runs/{id}/events",
            A::RunReader,
            B::None,
        ),
        row(
            R::ControlRun,
            Method::POST,
            "/api/v1/runs/{id}/control",
            A::Admin,
            B::Run,
        ),
        row(
            R::RunReport,
            Method::GET,
            "/api/v1/runs/{id}/report.html",
            A::RunReader,
            B::None,
        ),
        row(
            R::GetRun,
            Method::GET,
            "/api/v1/runs/{id}",
            A::RunReader,
            B::None,
        ),
        row(
            R::DeleteRun,
            Method::DELETE,
            "/api/v1/runs/{id}",
            A::Admin,
            B::None,
        ),
        row(R::OpenApi, Method::GET, "/openapi.json", A::Nobody, B::None),
        row(R::Page, Method::GET, "/", A::Nobody, B::None),
        row(
            R::PageByName,
            Method::GET,
            "/index.html",
            A::Nobody,
            B::None,
        ),
        row(R::Asset, Method::GET, "/assets/{file}", A::Nobody, B::None),
    ]
};

/// What the table says about a request.
#[derive(Debug)]
pub(crate) enum Lookup<'p> {
    /// The row, and the raw text of its parameter ("" for a literal template).
    Found(&'static Route, &'p str),
    /// The path exists under other methods: the value of `Allow`.
    OtherMethod(String),
    NoSuchPath,
}

/// Path first, then method. HEAD is GET without the body.
pub(crate) fn lookup<'p>(method: &Method, path: &'p str) -> Lookup<'p> {
    let wanted = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    for route in ROUTES {
        if route.method == *wanted
            && let Some(parameter) = route.matches(path)
        {
            return Lookup::Found(route, parameter);
        }
    }
    let allow = allowed(path);
    if allow.is_empty() {
        Lookup::NoSuchPath
    } else {
        Lookup::OtherMethod(allow)
    }
}

impl Route {
    /// The raw parameter if the path fits the template.
    fn matches<'p>(&self, path: &'p str) -> Option<&'p str> {
        let Some(after) = self.after else {
            return (path == self.template).then_some("");
        };
        let parameter = path.strip_prefix(self.before)?.strip_suffix(after)?;
        (!parameter.is_empty() && !parameter.contains('/')).then_some(parameter)
    }
}

fn allowed(path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.matches(path).is_some()) {
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

const fn row(
    id: RouteId,
    method: Method,
    template: &'static str,
    access: Access,
    body: BodyLimit,
) -> Route {
    let bytes = template.as_bytes();
    let (mut open, mut close) = (bytes.len(), bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => open = at,
            b'}' => close = at,
            _ => {}
        }
        at += 1;
    }
    let (before, _) = template.split_at(open);
    let after = if close == bytes.len() {
        None
    } else {
        Some(template.split_at(close + 1).1)
    };
    Route {
        id,
        method,
        template,
        access,
        body,
        before,
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> (RouteId, String) {
        match lookup(&method, path) {
            Lookup::Found(route, parameter) => (route.id, parameter.to_owned()),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    #[test]
    fn literal_and_parameter_rows_are_told_apart_by_method() {
        assert_eq!(
            found(Method::POST, "/api/v1/messages/ack").0,
            RouteId::AckMessages
        );
        // A message may be called "ack".
        assert_eq!(
            found(Method::GET, "/api/v1/messages/ack"),
            (RouteId::GetMessage, "ack".to_owned())
        );
        assert_eq!(
            found(Method::GET, "/api/v1/runs/7/series"),
            (RouteId::RunSeries, "7".to_owned())
        );
        assert_eq!(found(Method::HEAD, "/health").0, RouteId::Health);
        assert_eq!(found(Method::GET, "/api/v1/messages/a%2Fb").1, "a%2Fb");
    }

    #[test]
    fn other_methods_are_listed_and_unknown_paths_are_not_found() {
        let Lookup::OtherMethod(allow) = lookup(&Method::PUT, "/api/v1/messages/x") else {
            panic!("PUT on a message")
        };
        assert_eq!(allow, "DELETE, GET, HEAD");
        for path in [
            "/api/v1/messages/",
            "/api/v1/messages/a/b",
            "/nope",
            "//",
            "/api/v1",
        ] {
            assert!(
                matches!(lookup(&Method::GET, path), Lookup::NoSuchPath),
                "{path}"
            );
        }
    }

    #[test]
    fn no_row_is_hidden_by_an_earlier_one() {
        for route in ROUTES {
            let path = route
                .template
                .replace("{id}", "some-id")
                .replace("{file}", "some.css");
            assert_eq!(found(route.method.clone(), &path).0, route.id, "{path}");
        }
    }
}
