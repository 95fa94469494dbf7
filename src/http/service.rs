//! One request from its head to its answer: table, guards, start and drain, then the warp filters.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONNECTION;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::service::TowerToHyperService;

use crate::http::accept::Place;
use crate::http::app::App;
use crate::http::call::{Call, decoded};
use crate::http::error::{ApiError, Unanswered};
use crate::http::filters::Filters;
use crate::http::guards::{self, Hosts};
use crate::http::io::Clocks;
use crate::http::reply::Response;
use crate::http::table::{self, Access, Lookup, Route, RouteId};

/// The upgrade of a WebSocket request with the connection's place, taken once by its handler.
#[derive(Clone)]
pub(crate) struct Upgrade(Arc<Mutex<Option<(OnUpgrade, Place)>>>);

impl Upgrade {
    pub(crate) fn take(&self) -> Option<(OnUpgrade, Place)> {
        self.0.lock().ok()?.take()
    }
}

/// The connection closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the outcome of a commit is unknown")]
pub(super) struct Aborted;

type Routed = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// All routes as one function, shared by all connections.
#[derive(Clone)]
pub(super) struct Routes(Arc<dyn Fn(Request<Incoming>) -> Routed + Send + Sync>);

impl Routes {
    pub(super) fn new(filters: Filters) -> Routes {
        let service = TowerToHyperService::new(warp::service(filters));
        Routes(Arc::new(move |request| {
            Box::pin(hyper::service::Service::call(&service, request))
        }))
    }
}

/// Answers the requests of one connection.
pub(super) struct Service {
    pub(super) app: App,
    pub(super) routes: Routes,
    pub(super) clocks: Arc<Clocks>,
    pub(super) place: Place,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = hyper::Response<Answer>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.clocks.serving();
        let begun = Instant::now();
        let request_id = self.app.request_ids.next();
        let has_body = !request.body().is_end_stream();
        let method = request.method().clone();
        // Nothing below needs them beside the call, so they are moved, not cloned.
        let (uri, headers) = (request.uri().clone(), mem::take(request.headers_mut()));
        let lookup = table::lookup(&method, uri.path());
        let route = match &lookup {
            Lookup::Found(route, _) => Some(*route),
            Lookup::OtherMethod(_) | Lookup::NoSuchPath => None,
        };
        let admitted = admit(&self.app, &method, &uri, &headers, lookup);
        let call = admitted.and_then(|(route, parameter)| {
            let parameter = decoded(parameter)?;
            Ok(Call::new(
                route,
                parameter,
                uri.clone(),
                headers,
                request_id,
            ))
        });
        let routed = call.map(|call| {
            if call.route().id == RouteId::Socket {
                let upgrade = (hyper::upgrade::on(&mut request), self.place.clone());
                let upgrade = Upgrade(Arc::new(Mutex::new(Some(upgrade))));
                request.extensions_mut().insert(upgrade);
            }
            request.extensions_mut().insert(call);
            (self.routes.0)(request)
        });
        let (app, clocks) = (self.app.clone(), self.clocks.clone());
        Box::pin(async move {
            // Dropped with the answer's body, or here when there is no answer.
            let turn = Turn(clocks);
            let mut response = match routed {
                Ok(routed) => routed.await.unwrap_or_else(|never| match never {}),
                Err(error) => error.into_response(&request_id),
            };
            let status = response.status();
            app.tally.count(&app.metrics, route, &method, status, begun);
            if response.extensions_mut().remove::<Unanswered>().is_some() {
                return Err(Aborted);
            }
            let refused =
                response.status().is_client_error() || response.status().is_server_error();
            if refused && (has_body || response.headers().contains_key(CONNECTION)) {
                turn.0.linger();
            }
            Ok(response.map(|body| Answer { body, _turn: turn }))
        })
    }
}

/// Size of the head, guards, path and method, start and drain, in this order: a stranger learns
/// nothing about paths.
fn admit<'p>(
    app: &App,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    lookup: Lookup<'p>,
) -> Result<(&'static Route, &'p str), ApiError> {
    let limit = app.limits.head_bytes_max;
    if head_bytes(uri, headers) > limit {
        return Err(ApiError::headers_too_large(limit));
    }
    let is_probe = matches!(&lookup, Lookup::Found(route, _) if route.access == Access::Probe);
    if !is_probe {
        let hosts = if app.open {
            Hosts::Any
        } else {
            Hosts::Loopback
        };
        guards::check(headers, hosts)?;
    }
    let (route, parameter) = match lookup {
        Lookup::Found(route, parameter) => (route, parameter),
        Lookup::OtherMethod(allow) => {
            return Err(ApiError::method_not_allowed(method.as_str(), allow));
        }
        Lookup::NoSuchPath => return Err(ApiError::not_found(uri.path())),
    };
    if route.id != RouteId::Health {
        if app.stop.is_triggered() {
            return Err(ApiError::draining());
        }
        app.stores()?;
    }
    Ok((route, parameter))
}

/// About what the head took on the wire.
fn head_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let line = uri.path_and_query().map_or(0, |path| path.as_str().len());
    line + headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
}

/// One request's turn on its connection; dropping it lets the connection idle.
struct Turn(Arc<Clocks>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// Names warp's body type, which warp itself does not.
trait Answered {
    type Body;
}

impl<B> Answered for hyper::Response<B> {
    type Body = B;
}

/// An answer's body, which ends the turn.
pub(super) struct Answer {
    body: <Response as Answered>::Body,
    _turn: Turn,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
