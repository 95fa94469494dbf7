//! What reporters send, as JSON: parsed once into the types of `crate::results`, which cannot be
//! invalid. Every refusal names its field and the rule.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::histogram::Histogram;
use crate::http::error::ApiError;
use crate::limits::SAMPLE_POINTS_MAX;
use crate::results::{
    Batch, ClientTime, End, Kind, Order, Registration, RunId, Sample, Tags, Totals,
};

/// Longest name of a run, a source, a metric or a tag, in scalars.
const NAME_MAX: usize = 256;
/// Longest value of a tag, and longest target, in scalars.
const VALUE_MAX: usize = 2_048;
/// Tags of one run or series.
const TAGS_MAX: usize = 64;
/// Latest second that a point may be of: beyond it, it is milliseconds.
const SECOND_MAX: i64 = 9_999_999_999;

/// Most VUs and highest rate that an order may ask for: what scripts may ask for.
const VUS_MAX: u32 = 200_000;
const RATE_MAX: f64 = 1e9;

type Object = Map<String, Value>;

/// A body that must be one JSON object.
pub(super) fn object(body: &Bytes) -> Result<Object, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::invalid_run(
            "body",
            "the body must be a JSON object",
        )),
        Err(error) => Err(ApiError::from_json(&error)),
    }
}

/// `{"run_id","name","script","options","thresholds","tags","target","host","started_at","sent_at"}`.
pub(super) fn registration(mut object: Object) -> Result<Registration, ApiError> {
    let run_id = run_id(&object)?;
    let (script_name, script) = script(object.remove("script"))?;
    let name = match text(&object, "name", NAME_MAX)? {
        Some(name) => name,
        None => script_name
            .clone()
            .unwrap_or_else(|| run_id.as_str().to_owned()),
    };
    let mut document = Object::new();
    document.insert("script".into(), script);
    for key in ["options", "thresholds", "host"] {
        document.insert(key.into(), object.remove(key).unwrap_or(Value::Null));
    }
    Ok(Registration {
        run_id,
        name,
        script_name,
        target: target(&object)?,
        tags: tags(object.get("tags"))?,
        started: ClientTime {
            at_ms: integer(&object, "started_at", 0, i64::MAX)?,
            sent_at_ms: integer(&object, "sent_at", 0, i64::MAX)?,
        },
        document: Value::Object(document).to_string(),
    })
}

/// `{"source","batch","points":[…]}`.
pub(super) fn batch(run_id: RunId, mut object: Object) -> Result<Batch, ApiError> {
    let source = text(&object, "source", NAME_MAX)?.ok_or_else(|| {
        ApiError::invalid_run("source", "source is missing: who counts the batches")
    })?;
    let batch = integer(&object, "batch", 0, i64::MAX)?.ok_or_else(|| {
        ApiError::invalid_run("batch", "batch is missing: the number of this batch")
    })?;
    let points = match object.remove("points") {
        Some(Value::Array(points)) => points,
        _ => return Err(ApiError::invalid_run("points", "points must be an array")),
    };
    if points.len() > SAMPLE_POINTS_MAX {
        let count = points.len();
        return Err(ApiError::invalid_run(
            "points",
            format!("points holds {count} points; the limit of one call is {SAMPLE_POINTS_MAX}"),
        ));
    }
    let samples = points.iter().enumerate().map(|(index, point)| {
        sample(point).map_err(|error| error.inside(&format!("points[{index}]")))
    });
    Ok(Batch {
        run_id,
        source,
        batch: batch as u64,
        samples: samples.collect::<Result<_, _>>()?,
    })
}

/// `{"stop":true}`, `{"vus":n}` or `{"rate":n}`.
pub(super) fn order(object: &Object) -> Result<Order, ApiError> {
    let rule = "the body must be one of {\"stop\":true}, {\"vus\":n} and {\"rate\":n}";
    let mut given = object.iter();
    let (Some((key, value)), None) = (given.next(), given.next()) else {
        return Err(ApiError::invalid_run("body", rule));
    };
    match (key.as_str(), value) {
        ("stop", Value::Bool(true)) => Ok(Order::Stop),
        ("vus", value) => match value.as_u64() {
            Some(vus) if vus <= u64::from(VUS_MAX) => Ok(Order::Vus(vus as u32)),
            _ => {
                let rule = format!("vus must be a whole number from 0 to {VUS_MAX}");
                Err(ApiError::invalid_run("vus", rule))
            }
        },
        ("rate", value) => match value.as_f64() {
            Some(rate) if (0.0..=RATE_MAX).contains(&rate) => Ok(Order::Rate(rate)),
            _ => {
                let rule = format!("rate must be a number from 0 to {RATE_MAX}");
                Err(ApiError::invalid_run("rate", rule))
            }
        },
        _ => Err(ApiError::invalid_run("body", rule)),
    }
}

pub(super) fn order_json(order: Order) -> Value {
    match order {
        Order::Stop => json!({"stop": true}),
        Order::Vus(vus) => json!({"vus": vus}),
        Order::Rate(rate) => json!({"rate": rate}),
    }
}

/// `{"exit_code","abort","failure","summary","thresholds","checks","figures","target",
/// "finished_at","sent_at"}`, all optional.
pub(super) fn end(mut object: Object) -> Result<End, ApiError> {
    let exit_code = integer(&object, "exit_code", 0, 255)?;
    let abort = text(&object, "abort", VALUE_MAX)?;
    let totals: Option<Totals> = match object.remove("figures") {
        None | Some(Value::Null) => None,
        Some(figures) => Some(
            serde_json::from_value(figures)
                .map_err(|error| ApiError::invalid_run("figures", format!("figures: {error}")))?,
        ),
    };
    let finished = ClientTime {
        at_ms: integer(&object, "finished_at", 0, i64::MAX)?,
        sent_at_ms: integer(&object, "sent_at", 0, i64::MAX)?,
    };
    let target = target(&object)?;
    let mut document = Object::new();
    for key in [
        "summary",
        "thresholds",
        "checks",
        "breakdown",
        "abort",
        "failure",
        "report",
    ] {
        if let Some(value) = object.remove(key) {
            document.insert(key.into(), value);
        }
    }
    // k6's codes of runs that went to their planned end: 0, 99 thresholds, 110 marked as failed.
    let planned_end = matches!(exit_code, None | Some(0 | 99 | 110));
    Ok(End {
        finished,
        exit_code,
        aborted: abort.is_some() || !planned_end,
        target,
        totals,
        document: Value::Object(document).to_string(),
    })
}

/// The `run_id` of a body.
pub(super) fn run_id(object: &Object) -> Result<RunId, ApiError> {
    let given = text(object, "run_id", NAME_MAX)?;
    given
        .as_deref()
        .and_then(RunId::parse)
        .ok_or_else(|| ApiError::invalid_run("run_id", "run_id must be a UUID (version 7)"))
}

fn sample(point: &Value) -> Result<Sample, ApiError> {
    let Value::Object(point) = point else {
        return Err(ApiError::invalid_run("", "a point must be an object"));
    };
    let missing = |field: &'static str| ApiError::invalid_run(field, format!("{field} is missing"));
    let second = integer(point, "t", 0, SECOND_MAX)?.ok_or_else(|| missing("t"))?;
    let metric = text(point, "metric", NAME_MAX)?.ok_or_else(|| missing("metric"))?;
    let kind = text(point, "type", NAME_MAX)?.ok_or_else(|| missing("type"))?;
    let kind = Kind::parse(&kind).ok_or_else(|| {
        ApiError::invalid_run("type", "type must be counter, gauge, rate or trend")
    })?;
    let histogram = match text(point, "hist", usize::MAX)? {
        None => None,
        Some(wire) if kind == Kind::Trend => {
            let histogram = Histogram::from_wire(&wire)
                .map_err(|error| ApiError::invalid_run("hist", error.to_string()))?;
            (!histogram.is_empty()).then_some(histogram)
        }
        Some(_) => {
            return Err(ApiError::invalid_run(
                "hist",
                "only a trend has a histogram",
            ));
        }
    };
    let count = integer(point, "count", 0, i64::MAX)?.ok_or_else(|| missing("count"))? as u64;
    if histogram
        .as_ref()
        .is_some_and(|histogram| histogram.count() != count)
    {
        let rule = "hist must hold exactly count values";
        return Err(ApiError::invalid_run("hist", rule));
    }
    let (min, max) = (number(point, "min")?, number(point, "max")?);
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return Err(ApiError::invalid_run("min", "min must not be above max"));
    }
    Ok(Sample {
        second,
        metric,
        kind,
        tags: tags(point.get("tags"))?,
        count,
        sum: number(point, "sum")?.ok_or_else(|| missing("sum"))?,
        // A histogram knows its extremes, and what is stored must agree with it.
        min: histogram
            .as_ref()
            .map_or(min, |histogram| Some(histogram.min())),
        max: histogram
            .as_ref()
            .map_or(max, |histogram| Some(histogram.max())),
        histogram,
    })
}

/// A script's name, and what is kept of it: `{"name","text"}`, `text` being null where withheld.
fn script(script: Option<Value>) -> Result<(Option<String>, Value), ApiError> {
    match script {
        None | Some(Value::Null) => Ok((None, Value::Null)),
        Some(Value::String(name)) => {
            let kept = serde_json::json!({"name": name, "text": null});
            Ok((Some(name), kept))
        }
        Some(Value::Object(script)) => {
            let name = text(&script, "name", NAME_MAX).map_err(|error| error.inside("script"))?;
            let kept = serde_json::json!({
                "name": name,
                "text": text(&script, "text", usize::MAX).map_err(|error| error.inside("script"))?,
            });
            Ok((name, kept))
        }
        Some(_) => Err(ApiError::invalid_run(
            "script",
            "script must be an object with name and text",
        )),
    }
}

/// A URL, whose credentials are dropped wherever they come from; other texts stay as they are.
fn target(object: &Object) -> Result<Option<String>, ApiError> {
    let Some(target) = text(object, "target", VALUE_MAX)? else {
        return Ok(None);
    };
    let Ok(mut url) = url::Url::parse(&target) else {
        return Ok(Some(target));
    };
    if url.username().is_empty() && url.password().is_none() {
        return Ok(Some(target));
    }
    // Both fail only for URLs without a host, which can't have credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Ok(Some(url.to_string()))
}

fn tags(tags: Option<&Value>) -> Result<Tags, ApiError> {
    let refused = |rule: String| ApiError::invalid_run("tags", rule);
    let object = match tags {
        None | Some(Value::Null) => return Ok(Tags::new()),
        Some(Value::Object(object)) if object.len() <= TAGS_MAX => object,
        Some(Value::Object(object)) => {
            let count = object.len();
            return Err(refused(format!(
                "tags holds {count} tags; the limit is {TAGS_MAX}"
            )));
        }
        Some(_) => return Err(refused("tags must be an object of strings".into())),
    };
    let pairs = object.iter().map(|(name, value)| match value {
        Value::String(value) if fits(name, NAME_MAX) && value.chars().count() <= VALUE_MAX => {
            Ok((name.clone(), value.clone()))
        }
        Value::String(_) => Err(refused(format!(
            "a tag's name has 1 to {NAME_MAX} characters, its value up to {VALUE_MAX}"
        ))),
        _ => Err(refused(format!("tag {name:?} must be a string"))),
    });
    pairs.collect()
}

fn fits(text: &str, max: usize) -> bool {
    !text.is_empty() && text.chars().count() <= max
}

fn text(object: &Object, field: &'static str, max: usize) -> Result<Option<String>, ApiError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if max == usize::MAX || fits(text, max) => Ok(Some(text.clone())),
        Some(Value::String(_)) => Err(ApiError::invalid_run(
            field,
            format!("{field} must have 1 to {max} characters"),
        )),
        Some(_) => Err(ApiError::invalid_run(
            field,
            format!("{field} must be a string"),
        )),
    }
}

fn integer(
    object: &Object,
    field: &'static str,
    min: i64,
    max: i64,
) -> Result<Option<i64>, ApiError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ if max == i64::MAX => Err(ApiError::invalid_run(
                field,
                format!("{field} must be a whole number from {min}"),
            )),
            _ => Err(ApiError::invalid_run(
                field,
                format!("{field} must be a whole number from {min} to {max}"),
            )),
        },
    }
}

/// JSON has no NaN and no infinity, so that every number is finite.
fn number(object: &Object, field: &'static str) -> Result<Option<f64>, ApiError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::invalid_run(
                field,
                format!("{field} must be a number"),
            )),
        },
    }
}
