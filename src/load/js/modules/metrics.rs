//! Host side of the module `k6/metrics`.

use std::rc::Rc;

use rquickjs::{Coerced, Ctx, Exception, Object, Value};

use super::{must_run, own_tags, set};
use crate::load::js::host::{Host, Phase};
use crate::load::metrics::{MetricId, MetricKind, ValueKind};

pub(super) fn install<'js>(bridge: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    let declare = move |ctx: Ctx<'js>, kind: String, name: String, is_time: bool| {
        declare(&ctx, &vm, &kind, &name, is_time)
    };
    set(bridge, "declareMetric", declare)?;
    let vm = host.clone();
    let add = move |ctx: Ctx<'js>, id: u32, value: Value<'js>, tags: Value<'js>| {
        add(&ctx, &vm, MetricId(id), &value, &tags)
    };
    set(bridge, "addSample", add)
}

fn declare(
    ctx: &Ctx<'_>,
    host: &Host,
    kind: &str,
    name: &str,
    is_time: bool,
) -> rquickjs::Result<u32> {
    if host.phase.get() != Phase::Init {
        let text = "metrics must be declared in the init context";
        return Err(Exception::throw_message(ctx, text));
    }
    let kind = match kind {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "rate" => MetricKind::Rate,
        _ => MetricKind::Trend,
    };
    let contains = if is_time {
        ValueKind::Time
    } else {
        ValueKind::Default
    };
    match host.registry.declare(name, kind, contains) {
        Ok(id) => Ok(id.0),
        Err(error) => Err(Exception::throw_message(ctx, &error.to_string())),
    }
}

/// `metric.add(value, tags)`: whether the value was taken.
fn add<'js>(
    ctx: &Ctx<'js>,
    host: &Host,
    metric: MetricId,
    value: &Value<'js>,
    tags: &Value<'js>,
) -> rquickjs::Result<bool> {
    must_run(ctx, host, "Adding to a metric")?;
    let number = if value.is_null() || value.is_undefined() {
        f64::NAN
    } else {
        // Booleans become 0 and 1, numeric strings their number.
        value
            .get::<Coerced<f64>>()
            .map_or(f64::NAN, |value| value.0)
    };
    // Objects count once, as `true` does.
    let number = if number == 0.0 && value.is_object() {
        1.0
    } else {
        number
    };
    let Some(run) = &host.run else {
        return Ok(false);
    };
    if number.is_nan() {
        let name = host.registry.get(metric).map(|metric| metric.name);
        let name = name.as_deref().unwrap_or_default();
        let shown = value.get::<Coerced<String>>();
        let shown = limited(shown.map_or_else(|_| "[object]".to_owned(), |text| text.0));
        let text = format!(
            "'{shown}' is an invalid value for metric '{name}', a number or a boolean value is expected"
        );
        if run.shared.settings.throw {
            return Err(Exception::throw_message(ctx, &text));
        }
        tracing::warn!("{text}");
        return Ok(false);
    }
    let own = own_tags(ctx, tags)?;
    let tags = host.tagging.with(&run.shared.interner, &own);
    host.emit_one(metric, number, tags);
    Ok(true)
}

/// At most 100 characters, from both ends.
fn limited(text: String) -> String {
    const SHOWN_MAX: usize = 100;
    let count = text.chars().count();
    if count < SHOWN_MAX {
        return text;
    }
    let head: String = text.chars().take(SHOWN_MAX / 2).collect();
    let tail: String = text.chars().skip(count - SHOWN_MAX / 2).collect();
    format!(
        "{head}... omitting {} characters ...{tail}",
        count - SHOWN_MAX
    )
}
