//! The REST API of a run (`--address`): status, metrics, groups, setup data, as k6 has them.
//!
//! A server of its own, small and for one run; it ends with it. Requests that a browser makes for
//! another site are refused: the API has no password.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::bodies::{self, Patch};
use super::{Order, Refused};
use crate::load::metrics::Engine;
use crate::load::options::Options;
use crate::load::state::RunState;
use crate::load::vu::pool::VuPool;

/// Largest body that is read: setup data may be large.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
/// Time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
#[error("the REST API can't listen on '{address}': {source}\nhint: choose another --address")]
pub struct Error {
    pub address: String,
    pub source: std::io::Error,
}

/// A bound address.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

/// What the API shows and steers.
#[derive(Clone)]
pub(crate) struct Surface {
    pub(crate) state: Arc<RunState>,
    pub(crate) engine: Arc<Mutex<Engine>>,
    pub(crate) options: Arc<Options>,
    /// Gone when the run is over.
    pub(crate) pool: Weak<VuPool>,
    /// Whether the script has `setup`, and `teardown`.
    pub(crate) has_setup: bool,
    pub(crate) has_teardown: bool,
}

impl Server {
    /// # Errors
    /// The address is taken, or is none.
    pub async fn bind(address: &str) -> Result<Server, Error> {
        // k6 takes `:6565` as well: every address of this machine.
        let full = match address.strip_prefix(':') {
            Some(port) => format!("0.0.0.0:{port}"),
            None => address.to_owned(),
        };
        let listener = TcpListener::bind(&full).await.map_err(|source| Error {
            address: address.to_owned(),
            source,
        })?;
        if let Ok(bound) = listener.local_addr() {
            match full.ends_with(":0") {
                // Only this line says which port it is.
                true => tracing::info!("REST API: http://{bound}"),
                false => tracing::debug!("REST API: http://{bound}"),
            }
        }
        Ok(Server { listener })
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, surface: Surface) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    // A failed accept is the peer's loss.
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(stream, surface.clone()));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, surface: Surface) {
    let service = service_fn(move |request| {
        let surface = surface.clone();
        async move { Ok::<_, Infallible>(answer(&surface, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off has nothing to hear.
    let _ = serving.await;
}

type Answer = Response<Full<Bytes>>;

/// An error document.
struct Failure {
    status: StatusCode,
    title: &'static str,
    detail: String,
}

fn failure(status: StatusCode, title: &'static str, detail: impl ToString) -> Failure {
    Failure {
        status,
        title,
        detail: detail.to_string(),
    }
}

async fn answer(surface: &Surface, request: Request<Incoming>) -> Answer {
    if request.uri().path() == "/ping" {
        return Response::new(Full::from("ok"));
    }
    match route(surface, request).await {
        Ok(Some(document)) => document_answer(StatusCode::OK, &document),
        Ok(None) => Response::new(Full::default()),
        Err(Failure {
            status,
            title,
            detail,
        }) => document_answer(status, &bodies::error(status.as_u16(), title, &detail)),
    }
}

fn document_answer(status: StatusCode, document: &Value) -> Answer {
    let mut answer = Response::new(Full::from(document.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json; charset=utf-8"),
    );
    answer
}

async fn route(surface: &Surface, request: Request<Incoming>) -> Result<Option<Value>, Failure> {
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site" || site == "same-site") {
        let text = "requests from other sites are refused";
        return Err(failure(StatusCode::FORBIDDEN, "Forbidden", text));
    }
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let method = request.method().clone();
    let is = |wanted: Method| method == wanted;
    match path.as_str() {
        "/v1/status" if is(Method::GET) => Ok(Some(bodies::status(&surface.state))),
        "/v1/status" if is(Method::PATCH) => {
            let body = read(request).await?;
            patch(surface, &body)?;
            Ok(Some(bodies::status(&surface.state)))
        }
        "/v1/setup" if is(Method::GET) => Ok(Some(setup_data(surface))),
        "/v1/setup" if is(Method::PUT) => put_setup(surface, &read(request).await?).map(Some),
        "/v1/setup" if is(Method::POST) => run_setup(surface).await.map(Some),
        "/v1/teardown" if is(Method::POST) => run_teardown(surface).await.map(|()| None),
        "/v1/metrics" if is(Method::GET) => Ok(Some(json!({ "data": metrics(surface) }))),
        "/v1/groups" if is(Method::GET) => Ok(Some(json!({ "data": groups(surface) }))),
        other => {
            let (list, id) = match other.rsplit_once('/') {
                Some(("/v1/metrics", id)) if is(Method::GET) => (metrics(surface), id),
                Some(("/v1/groups", id)) if is(Method::GET) => (groups(surface), id),
                _ => {
                    let text = format!("there is no {method} {path}");
                    return Err(failure(StatusCode::NOT_FOUND, "Not Found", text));
                }
            };
            let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
            let found = list.into_iter().find(|entry| entry["id"] == *id);
            let entry = found.ok_or_else(|| {
                let text = format!("nothing with the ID '{id}' was found");
                failure(StatusCode::NOT_FOUND, "Not Found", text)
            })?;
            Ok(Some(json!({ "data": entry })))
        }
    }
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(failure(
            StatusCode::BAD_REQUEST,
            "Couldn't read request",
            error,
        )),
    }
}

fn patch(surface: &Surface, body: &[u8]) -> Result<(), Failure> {
    let patch =
        Patch::read(body).map_err(|text| failure(StatusCode::BAD_REQUEST, "Invalid data", text))?;
    let state = &surface.state;
    if patch.stopped {
        // Nobody minds a second stop.
        let _ = state.obey(Order::Stop, None);
    }
    if let Some(paused) = patch.paused {
        let set = state.control.pause(paused);
        set.map_err(|error| failure(StatusCode::INTERNAL_SERVER_ERROR, "Pause error", error))?;
    }
    for order in patch.orders {
        let obeyed = state.obey(order, patch.scenario.as_deref());
        obeyed.map_err(|error| {
            let status = match error {
                Refused::Vus | Refused::Rate => StatusCode::BAD_REQUEST,
                _ => StatusCode::CONFLICT,
            };
            failure(status, "Execution config error", error)
        })?;
    }
    Ok(())
}

fn metrics(surface: &Surface) -> Vec<Value> {
    let engine = surface.engine.lock().unwrap_or_else(|e| e.into_inner());
    let stats = &surface.options.summary_trend_stats;
    bodies::metrics(&engine, surface.state.started.elapsed(), stats)
}

fn groups(surface: &Surface) -> Vec<Value> {
    let root = {
        let engine = surface.engine.lock().unwrap_or_else(|e| e.into_inner());
        engine.checks().root()
    };
    bodies::groups(&root)
}

fn setup_data(surface: &Surface) -> Value {
    bodies::setup_data(surface.state.control.setup_data().as_deref())
}

/// Takes JSON as what `setup` returned; an empty body is nothing.
fn put_setup(surface: &Surface, body: &[u8]) -> Result<Value, Failure> {
    let wrong = |text: String| failure(StatusCode::BAD_REQUEST, "Error parsing request body", text);
    let json = match body {
        [] => None,
        body => {
            let _: Value = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
            let text = std::str::from_utf8(body).map_err(|e| wrong(e.to_string()))?;
            Some(Arc::from(text))
        }
    };
    surface.state.control.set_setup_data(json);
    Ok(setup_data(surface))
}

async fn run_setup(surface: &Surface) -> Result<Value, Failure> {
    if surface.has_setup {
        let pool = pool(surface, "Error executing setup")?;
        let called = pool.call_setup(surface.options.setup_timeout).await;
        let data = called.map_err(|error| script(error, "Error executing setup"))?;
        surface.state.control.set_setup_data(data);
    }
    Ok(setup_data(surface))
}

async fn run_teardown(surface: &Surface) -> Result<(), Failure> {
    if !surface.has_teardown {
        return Ok(());
    }
    let pool = pool(surface, "Error executing teardown")?;
    let data = surface.state.control.setup_data();
    let called = pool.call_teardown(data, surface.options.teardown_timeout);
    called
        .await
        .map_err(|error| script(error, "Error executing teardown"))
}

fn pool(surface: &Surface, title: &'static str) -> Result<Arc<VuPool>, Failure> {
    let pool = surface.pool.upgrade();
    pool.filter(|_| !surface.state.control.has_ended())
        .ok_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR, title, "the test is over"))
}

fn script(error: crate::load::js::ScriptError, title: &'static str) -> Failure {
    failure(StatusCode::INTERNAL_SERVER_ERROR, title, error)
}
