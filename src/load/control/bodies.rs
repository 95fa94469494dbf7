//! Bodies of the REST API: JSON:API documents with k6's names. Pure.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Order, Refused};
use crate::load::metrics::{Engine, Metric};
use crate::load::output::json::{contains_name, kind_name};
use crate::load::state::RunState;
use crate::load::summary::json::{id, values};
use crate::load::summary::{GroupSummary, Summary};
use crate::load::threshold::Aggregation;

/// What `PATCH /v1/status` asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Patch {
    pub(super) stopped: bool,
    pub(super) paused: Option<bool>,
    pub(super) orders: Vec<Order>,
    /// Scenario that the orders are for; all of them where it is missing.
    pub(super) scenario: Option<String>,
}

impl Patch {
    /// Reads the document, or its attributes alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(body: &[u8]) -> Result<Patch, String> {
        let document: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let attributes = document.pointer("/data/attributes").unwrap_or(&document);
        let Some(attributes) = attributes.as_object() else {
            return Err("the document has no attributes".to_owned());
        };
        let given = |key: &str| attributes.get(key).filter(|value| !value.is_null());
        let flag = |key: &str| match given(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(format!("'{key}' must be true or false, not {other}")),
        };
        let mut patch = Patch {
            stopped: flag("stopped")?.unwrap_or(false),
            paused: flag("paused")?,
            ..Patch::default()
        };
        if let Some(vus) = given("vus") {
            let count = vus.as_u64().and_then(|vus| u32::try_from(vus).ok());
            let count = count.ok_or_else(|| Refused::Vus.to_string())?;
            patch.orders.push(Order::Vus(count));
        }
        if let Some(rate) = given("rate") {
            let rate = rate.as_f64().ok_or_else(|| Refused::Rate.to_string())?;
            patch.orders.push(Order::Rate(rate));
        }
        patch.scenario = match given("scenario") {
            None => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(other) => return Err(format!("'scenario' must be a string, not {other}")),
        };
        Ok(patch)
    }
}

pub(super) fn status(state: &RunState) -> Value {
    let control = &state.control;
    let attributes = json!({
        "status": control.stage(),
        "paused": control.is_paused(),
        "vus": state.vus_active.load(Ordering::Relaxed),
        "vus-max": state.vus_initialized.load(Ordering::Relaxed),
        "stopped": state.cancelled.is_cancelled(),
        "running": control.has_started() && !control.has_ended(),
        "tainted": control.is_tainted(),
    });
    json!({"data": {"type": "status", "id": "default", "attributes": attributes}})
}

/// Every metric with samples; submetrics stand beside their parents.
pub(super) fn metrics(
    engine: &Engine,
    elapsed: Duration,
    stats: &[(String, Aggregation)],
) -> Vec<Value> {
    let summary = Summary::collect(engine, &[], elapsed, stats, None);
    let known = engine.registry().all();
    let of = |name: &str| known.iter().find(|metric| *metric.name == *name);
    let mut list = Vec::new();
    for metric in &summary.metrics {
        let base = metric.name.split('{').next().unwrap_or_default();
        let Some(Metric { kind, contains, .. }) = of(base) else {
            continue;
        };
        list.push(json!({
            "type": "metrics",
            "id": metric.name,
            "attributes": {
                "type": kind_name(*kind),
                "contains": contains_name(*contains),
                "tainted": null,
                "sample": values(&metric.values),
            },
        }));
    }
    list
}

/// The root group and every group in it, parents first.
pub(super) fn groups(root: &GroupSummary) -> Vec<Value> {
    let mut list = Vec::new();
    collect(root, None, &mut list);
    list
}

fn collect(group: &GroupSummary, parent: Option<&str>, list: &mut Vec<Value>) {
    let reference = |path: &str| json!({"type": "groups", "id": id(path)});
    let checks: Vec<Value> = group
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "path": check.path,
                "id": id(&check.path),
                "passes": check.passes,
                "fails": check.fails,
            })
        })
        .collect();
    let inner: Vec<Value> = group.groups.iter().map(|g| reference(&g.path)).collect();
    list.push(json!({
        "type": "groups",
        "id": id(&group.path),
        "attributes": {"path": group.path, "name": group.name, "checks": checks},
        "relationships": {
            "groups": {"data": inner},
            "parent": {"data": parent.map(reference)},
        },
    }));
    for inner in &group.groups {
        collect(inner, Some(&group.path), list);
    }
}

/// `json` is what `setup` returned.
pub(super) fn setup_data(json: Option<&str>) -> Value {
    let data = json.and_then(|json| serde_json::from_str::<Value>(json).ok());
    let attributes = json!({ "data": data });
    json!({"data": {"type": "setupData", "id": "default", "attributes": attributes}})
}

pub(super) fn error(status: u16, title: &str, detail: &str) -> Value {
    json!({"errors": [{"status": status.to_string(), "title": title, "detail": detail}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_read_from_documents_and_bare_attributes() {
        let document = br#"{"data":{"type":"status","id":"default","attributes":
            {"paused":false,"stopped":null,"vus":7}}}"#;
        let patch = Patch::read(document).expect("a patch");
        assert_eq!(patch.paused, Some(false));
        assert_eq!(patch.orders, [Order::Vus(7)]);
        let bare = Patch::read(br#"{"stopped":true,"rate":2.5,"scenario":"a"}"#).expect("a patch");
        assert!(bare.stopped);
        assert_eq!(bare.orders, [Order::Rate(2.5)]);
        assert_eq!(bare.scenario.as_deref(), Some("a"));
        for wrong in [
            "",
            "[]",
            r#"{"vus":-1}"#,
            r#"{"paused":1}"#,
            r#"{"rate":"x"}"#,
        ] {
            assert!(Patch::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_name_their_parents_and_children() {
        let inner = GroupSummary {
            name: "a".into(),
            path: "::a".into(),
            ..GroupSummary::default()
        };
        let root = GroupSummary {
            groups: vec![inner],
            ..GroupSummary::default()
        };
        let list = groups(&root);
        assert_eq!(list.len(), 2);
        assert_eq!(list[0]["relationships"]["parent"]["data"], Value::Null);
        assert_eq!(
            list[1]["relationships"]["parent"]["data"]["id"],
            list[0]["id"]
        );
        assert_eq!(
            list[0]["relationships"]["groups"]["data"][0]["id"],
            list[1]["id"]
        );
    }
}
