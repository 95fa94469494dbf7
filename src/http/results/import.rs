//! `POST /api/v1/runs/import`: runs from a file, one call of the runs API a line.
//!
//! `{"call":"register","body":{…}}`, `{"call":"samples","run_id":"…","body":{…}}`,
//! `{"call":"finish","run_id":"…","body":{…}}`; bodies are those of the calls themselves. Every
//! line is parsed before the first is stored. Lines may come in several imports, and again: what
//! is stored already stays as it is, because batches are stored once.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{refused, wire};
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::results::{Batch, End, Registration, Results, RunId};

enum Step {
    Register(Box<Registration>),
    Samples(Batch),
    Finish(RunId, Box<End>),
}

/// `POST /api/v1/runs/import`
pub(crate) async fn import(
    results: &Results,
    _call: &Call,
    body: Bytes,
) -> Result<Response, ApiError> {
    let steps = parse(&body)?;
    if steps.is_empty() {
        return Err(ApiError::invalid_run("body", "the file has no line"));
    }
    let (mut runs, mut batches, mut points, mut duplicates) = (Vec::new(), 0, 0, 0);
    for step in steps {
        let run_id = match &step {
            Step::Register(registration) => registration.run_id.clone(),
            Step::Samples(batch) => batch.run_id.clone(),
            Step::Finish(run_id, _) => run_id.clone(),
        };
        let stored = match step {
            Step::Register(registration) => results.register(*registration).await,
            Step::Samples(batch) => {
                batches += 1;
                points += batch.samples.len();
                let stored = results.add(batch).await;
                duplicates += u64::from(matches!(stored, Ok(false)));
                stored.map(drop)
            }
            Step::Finish(run_id, end) => results.finish(&run_id, *end).await,
        };
        stored.map_err(|error| refused(error, run_id.as_str()))?;
        if !runs.contains(&run_id) {
            runs.push(run_id);
        }
    }
    let runs: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    Ok(reply::json(&json!({
        "runs": runs,
        "batches": batches,
        "points": points,
        "duplicates": duplicates,
    })))
}

fn parse(body: &Bytes) -> Result<Vec<Step>, ApiError> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let steps = lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(index, line)| {
            step(&body.slice_ref(line))
                .map_err(|error| error.inside(&format!("line[{}]", index + 1)))
        });
    steps.collect()
}

fn step(line: &Bytes) -> Result<Step, ApiError> {
    let mut object = wire::object(line)?;
    let Some(Value::Object(body)) = object.remove("body") else {
        return Err(ApiError::invalid_run("body", "body must be an object"));
    };
    match object.get("call").and_then(Value::as_str) {
        Some("register") => Ok(Step::Register(Box::new(wire::registration(body)?))),
        Some("samples") => Ok(Step::Samples(wire::batch(wire::run_id(&object)?, body)?)),
        Some("finish") => Ok(Step::Finish(
            wire::run_id(&object)?,
            Box::new(wire::end(body)?),
        )),
        _ => Err(ApiError::invalid_run(
            "call",
            "call must be register, samples or finish",
        )),
    }
}
