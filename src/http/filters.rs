//! The one warp filter of all routes: body under the row's limit, handler, answer.
//!
//! The service has looked up the row and put the [`Call`] beside the request, so the filter never
//! rejects. The match over [`RouteId`] is exhaustive: a row without a handler does not compile.

use bytes::{Buf, Bytes};
use futures_util::Stream;
use hyper::header::CONTENT_TYPE;
use warp::Filter;
use warp::filters::BoxedFilter;

use crate::http::app::App;
use crate::http::call::{Call, read_body};
use crate::http::error::ApiError;
use crate::http::reply::Response;
use crate::http::service::Upgrade;
use crate::http::table::{BodyLimit, RouteId};
use crate::http::{about, assets, messages, openapi, results, socket, stream};

pub(super) type Filters = BoxedFilter<(Response,)>;

pub(super) fn all(app: App) -> Filters {
    let upgrade = warp::ext::optional::<Upgrade>();
    warp::ext::get::<Call>()
        .and(upgrade)
        .and(warp::body::stream())
        .then(move |call: Call, upgrade, body| {
            let app = app.clone();
            async move {
                let request_id = call.request_id();
                let answer = async {
                    let body = whole(&app, &call, body).await?;
                    handle(&app, &call, body, upgrade).await
                };
                answer
                    .await
                    .unwrap_or_else(|error: ApiError| error.into_response(&request_id))
            }
        })
        .boxed()
}

async fn handle(
    app: &App,
    call: &Call,
    body: Bytes,
    upgrade: Option<Upgrade>,
) -> Result<Response, ApiError> {
    match call.route().id {
        RouteId::PostMessage => messages::post(app, &body).await,
        RouteId::GetMessage => messages::get(app, call).await,
        RouteId::ListMessages => messages::list(app, call).await,
        RouteId::AckMessages => messages::ack(app, &body).await,
        RouteId::PostBatch => messages::post_batch(app, &body).await,
        RouteId::DeleteMessage => messages::delete(app, call).await,
        RouteId::Stream => stream::open(app, call),
        RouteId::Socket => socket::open(app, call, upgrade),
        RouteId::PushSamples => results::push_samples(app.results()?, call, body).await,
        RouteId::RegisterRun => results::register(app.results()?, call, body).await,
        RouteId::FinishRun => results::finish(app.results()?, call, body).await,
        RouteId::ImportRun => results::import(app.results()?, call, body).await,
        RouteId::ListRuns => results::list(app.results()?, call).await,
        RouteId::GetRun => results::one(app.results()?, call).await,
        RouteId::RunSeries => results::series(app.results()?, call).await,
        RouteId::ControlRun => results::control(app.results()?, call, body).await,
        RouteId::RunReport => results::report(app.results()?, call).await,
        RouteId::RunEvents => results::events(app.results()?, call, &app.stop).await,
        RouteId::DeleteRun => results::delete(app.results()?, call).await,
        RouteId::Health => Ok(about::health(app)),
        RouteId::Ready => Ok(about::ready()),
        RouteId::Status => about::status(app),
        RouteId::Metrics => Ok(about::metrics(app, call)),
        RouteId::OpenApi => Ok(openapi::answer()),
        RouteId::Page | RouteId::PageByName => assets::page(call),
        RouteId::Asset => assets::asset(call),
    }
}

/// The body of a route that takes one, under its limit and deadline.
async fn whole<S, B>(app: &App, call: &Call, body: S) -> Result<Bytes, ApiError>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let limit = match call.route().body {
        BodyLimit::None => return Ok(Bytes::new()),
        limit => limit.bytes(&app.limits),
    };
    if call.route().id != RouteId::ImportRun {
        accept_type(call)?;
    }
    let announced = call
        .header(hyper::header::CONTENT_LENGTH)
        .and_then(|length| length.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > limit) {
        return Err(ApiError::body_too_large(limit));
    }
    read_body(body, limit, app.limits.body_timeout).await
}

/// JSON is taken under the types that plain clients send: `curl -d` says it is a form.
fn accept_type(call: &Call) -> Result<(), ApiError> {
    const ACCEPTED: [&str; 3] = [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
    ];
    if !call.headers().contains_key(CONTENT_TYPE) {
        return Ok(());
    }
    let given = call.header(CONTENT_TYPE).unwrap_or("");
    let kind = given.split(';').next().unwrap_or("").trim();
    if ACCEPTED
        .iter()
        .any(|accepted| accepted.eq_ignore_ascii_case(kind))
    {
        return Ok(());
    }
    Err(ApiError::unsupported_media_type(given))
}
