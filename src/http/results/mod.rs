//! The runs API: registering, samples, control, end, list, one run, series, events, report,
//! import, delete.
//!
//! Knows the JSON of reporters and of the page (`wire`, `answer`), never SQL. Traffic of these
//! routes counts in none of the message metrics. Pins, comparison and most downloads are not here
//! yet.

mod answer;
mod events;
mod import;
mod report;
mod wire;

use bytes::Bytes;
use serde_json::json;

use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::results::{
    self, Before, ListQuery, Refused, Results, RunId, STEPS_MAX, SeriesQuery, Tags,
};

pub(crate) use events::events;
pub(crate) use import::import;
pub(crate) use report::report;

/// Runs of one page of the list at most, and where the query names no limit.
const RUNS_MAX: i64 = 500;
const RUNS_DEFAULT: i64 = 50;
/// Widest step of a series, in seconds: a day.
const STEP_MAX: i64 = 86_400;

/// `POST /api/v1/runs`
pub(crate) async fn register(
    results: &Results,
    _call: &Call,
    body: Bytes,
) -> Result<Response, ApiError> {
    let registration = wire::registration(wire::object(&body)?)?;
    let run_id = registration.run_id.clone();
    results
        .register(registration)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::json(&json!({
        "run_id": run_id.as_str(),
        "relay_time_ms": results.now_ms(),
    })))
}

/// `POST /api/v1/runs/{id}/samples`
pub(crate) async fn push_samples(
    results: &Results,
    call: &Call,
    body: Bytes,
) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let batch = wire::batch(run_id.clone(), wire::object(&body)?)?;
    let points = batch.samples.len();
    let (source, number) = (batch.source.clone(), batch.batch);
    let stored = results
        .add(batch)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::json(&json!({
        "run_id": run_id.as_str(),
        "points": points,
        "duplicate": !stored,
        "control": results.orders(&run_id, &source, number).into_iter().map(wire::order_json).collect::<Vec<_>>(),
    })))
}

/// `POST /api/v1/runs/{id}/control`
pub(crate) async fn control(
    results: &Results,
    call: &Call,
    body: Bytes,
) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let order = wire::order(&wire::object(&body)?)?;
    let taken = results
        .order(&run_id, order)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    match taken {
        Ok(()) => Ok(reply::json(&json!({
            "run_id": run_id.as_str(),
            "control": wire::order_json(order),
        }))),
        Err(Refused::Over) => Err(ApiError::conflict(format!(
            "run {} has ended",
            run_id.as_str()
        ))),
        Err(Refused::NoKnob(executors)) => Err(ApiError::conflict(format!(
            "no scenario of run {} can be changed so; {} can",
            run_id.as_str(),
            executors.join(" and ")
        ))),
    }
}

/// `POST /api/v1/runs/{id}/finish`
pub(crate) async fn finish(
    results: &Results,
    call: &Call,
    body: Bytes,
) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let end = wire::end(wire::object(&body)?)?;
    let run = async {
        results.finish(&run_id, end).await?;
        results.run(&run_id).await
    };
    let run = run.await.map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::json(&answer::RunHead::of(&run)))
}

/// `GET /api/v1/runs?limit=&before=&q=&tag=`
pub(crate) async fn list(results: &Results, call: &Call) -> Result<Response, ApiError> {
    let query = call.query();
    let limit = query.integer("limit", 1, RUNS_MAX)?.unwrap_or(RUNS_DEFAULT) as usize;
    let before = query.get("before")?.map(|text| {
        let run = RunId::parse(&text).map(Before::Run);
        run.or_else(|| text.parse().ok().map(Before::Time))
            .ok_or_else(|| {
                let rule = "before must be the next_before of a page, or unix milliseconds";
                ApiError::invalid_query("before", rule)
            })
    });
    let tag = query.get("tag")?.filter(|tag| !tag.is_empty());
    let page = results
        .list(ListQuery {
            limit,
            before: before.transpose()?,
            text: query
                .get("q")?
                .filter(|text| !text.is_empty())
                .map(|text| text.into_owned()),
            tag: tag.map(|tag| match tag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (tag.into_owned(), None),
            }),
        })
        .await
        .map_err(|error| refused(error, ""))?;
    Ok(reply::json(&answer::RunList {
        next_before: page.runs.last().map(|run| run.run_id.as_str()),
        has_more: page.has_more,
        runs: page.runs.iter().map(answer::RunHead::of).collect(),
    }))
}

/// `GET /api/v1/runs/{id}`
pub(crate) async fn one(results: &Results, call: &Call) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let whole = results
        .whole(&run_id)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::json(&answer::RunWhole::of(&whole)))
}

/// `GET /api/v1/runs/{id}/series?metric=&tags=&from=&to=&step=`
///
/// `metric` may name several, with commas; missing: all. `tags` is `name:value,name:value` as in
/// k6's submetrics, or a JSON object where a value has a comma.
pub(crate) async fn series(results: &Results, call: &Call) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let query = call.query();
    let metrics = query.get("metric")?.unwrap_or_default();
    let metrics = metrics.split(',').filter(|metric| !metric.is_empty());
    let from_ms = query.integer("from", 0, i64::MAX)?;
    let to_ms = query.integer("to", 0, i64::MAX)?;
    let step = query.integer("step", 1, STEP_MAX)?;
    if let (Some(from), Some(to)) = (from_ms, to_ms)
        && from > to
    {
        return Err(ApiError::invalid_query("to", "to must not be before from"));
    }
    let asked = SeriesQuery {
        run_id: run_id.clone(),
        metrics: metrics.map(str::to_owned).collect(),
        tags: series_tags(&query.get("tags")?.unwrap_or_default())?,
        from_ms,
        to_ms,
        step,
    };
    let answered = results
        .series(asked)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::json(&answer::SeriesBody::of(
        run_id.as_str(),
        &answered,
    )))
}

/// `DELETE /api/v1/runs/{id}`
pub(crate) async fn delete(results: &Results, call: &Call) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    results
        .delete(&run_id)
        .await
        .map_err(|error| refused(error, run_id.as_str()))?;
    Ok(reply::no_content())
}

/// An id that is no UUID belongs to no run.
fn run_id(call: &Call) -> Result<RunId, ApiError> {
    let given = call.parameter();
    RunId::parse(given).ok_or_else(|| ApiError::run_not_found(given))
}

fn series_tags(text: &str) -> Result<Tags, ApiError> {
    if text.starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|_| ApiError::invalid_query("tags", "tags must be a JSON object of strings"));
    }
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        pair.split_once(':')
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .ok_or_else(|| {
                let rule = "tags must read name:value,name:value, or be a JSON object";
                ApiError::invalid_query("tags", rule)
            })
    });
    pairs.collect()
}

fn refused(error: results::Error, run_id: &str) -> ApiError {
    match error {
        results::Error::NotFound => ApiError::run_not_found(run_id),
        results::Error::Kind { metric, stored } => ApiError::invalid_run(
            "points",
            format!("metric {metric} with these tags was of type {stored} before"),
        ),
        results::Error::Steps => ApiError::invalid_query(
            "step",
            format!("the window has more than {STEPS_MAX} steps; ask for a wider step"),
        ),
        error @ results::Error::Series => ApiError::invalid_run("points", error.to_string()),
        results::Error::Overloaded { what } => ApiError::overloaded(what),
        results::Error::Full { what } => ApiError::storage_full(what),
        error @ results::Error::Unavailable => ApiError::storage_unavailable(error.to_string()),
        error @ results::Error::Sqlite(_) => {
            ApiError::storage_unavailable("runs.db cannot be used").caused_by(error)
        }
    }
}
