//! Outputs: JSON lines, summary export, end-of-test summary.

use std::collections::BTreeSet;

use crate::support::*;

const SCRIPT: &str = r#"
import http from 'k6/http';
import { check, group } from 'k6';
import { Counter, Trend } from 'k6/metrics';
export const options = { vus: 2, iterations: 6, tags: { team: 'red' } };
const hits = new Counter('hits'), size = new Trend('size');
export default function () {
    group('look', () => {
        const answer = http.get(`${__ENV.RELAY}/health`, { tags: { name: 'Health' } });
        check(answer, { 'is 200': (r) => r.status === 200, 'is odd': (r) => r.status === 201 });
        size.add(answer.body.length);
    });
    hits.add(1);
}"#;

fn script(relay: &Relay) -> Script {
    Script::new(SCRIPT).args(["-e", &format!("RELAY={}", relay.url())])
}

#[test]
fn json_lines_declare_each_metric_once_and_then_its_points() {
    let relay = Relay::start();
    let ran = script(&relay)
        .args(["--out", "json=out.json"])
        .run()
        .expect(0);
    let mut declared = BTreeSet::new();
    let (mut requests, mut checks) = (0, 0);
    for line in ran.text("out.json").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let metric = line["metric"].as_str().unwrap().to_owned();
        if line["type"] == "Metric" {
            assert_eq!(line["data"]["name"], metric);
            assert!(line["data"]["type"].is_string() && line["data"]["contains"].is_string());
            assert!(declared.insert(metric), "declared once: {line}");
            continue;
        }
        assert_eq!(line["type"], "Point");
        assert!(declared.contains(&metric), "declared before: {line}");
        let data = &line["data"];
        assert!(
            data["value"].is_number() && data["time"].as_str().unwrap().contains('T'),
            "{line}"
        );
        if metric == "http_reqs" {
            requests += 1;
            let tags = &data["tags"];
            assert_eq!(tags["name"], "Health");
            assert_eq!(tags["team"], "red");
            assert_eq!(tags["group"], "::look");
            assert_eq!(
                (&tags["method"], &tags["status"]),
                (&json!("GET"), &json!("200"))
            );
            assert_eq!(tags["expected_response"], "true");
            assert_eq!(tags["scenario"], "default");
            assert!(
                tags.get("vu").is_none() && tags.get("iter").is_none(),
                "{tags}"
            );
        }
        checks += usize::from(metric == "checks");
    }
    assert_eq!((requests, checks), (6, 12));
    for name in [
        "http_req_duration",
        "iterations",
        "iteration_duration",
        "hits",
        "size",
    ] {
        assert!(declared.contains(name), "{name} in {declared:?}");
    }
}

#[test]
fn json_lines_may_be_gzipped() {
    let relay = Relay::start();
    let ran = script(&relay)
        .args(["--out", "json=out.json.gz"])
        .run()
        .expect(0);
    let plain = command("gzip", ["-dc"])
        .arg(ran.path("out.json.gz"))
        .run()
        .expect(0);
    assert!(plain.stdout.lines().count() > 50, "{}", plain.stdout);
}

#[test]
fn csv_rows_have_a_column_for_each_system_tag() {
    let relay = Relay::start();
    let args = ["--out", "csv=fileName=out.csv,timeFormat=unix_milli"];
    let ran = script(&relay).args(args).run().expect(0);
    let text = ran.text("out.csv");
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,\
         name,proto,scenario,service,status,subproto,tls_version,url,extra_tags,metadata"
    );
    let requests: Vec<Vec<&str>> = lines
        .filter(|line| line.starts_with("http_reqs,"))
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(requests.len(), 6);
    let row = &requests[0];
    assert_eq!((row[1].len(), row[2]), (13, "1.000000"));
    let named = [&row[6..10], &row[11..12], &row[13..14], &row[17..]].concat();
    let wanted = [
        "true", "::look", "GET", "Health", "default", "200", "team=red", "",
    ];
    assert_eq!(named, wanted, "{row:?}");
}

#[test]
fn csv_may_be_gzipped_and_named_by_the_environment() {
    let ran = Script::new("export default function () {}")
        .args(["--out", "csv"])
        .env("K6_CSV_FILENAME", "all.csv.gz")
        .run()
        .expect(0);
    let plain = command("gzip", ["-dc"])
        .arg(ran.path("all.csv.gz"))
        .run()
        .expect(0);
    assert!(plain.stdout.contains("\niterations,"), "{}", plain.stdout);
}

#[test]
fn output_that_cannot_start_stops_the_run() {
    for out in ["json=missing/out.json", "csv=missing/out.csv"] {
        let ran = Script::new("export default function () {}")
            .args(["--out", out])
            .run();
        let ran = ran.expect(255).says(&["missing/out."]);
        assert!(!ran.path("summary.json").exists());
    }
}

#[test]
fn summary_export_has_k6_s_shape() {
    let relay = Relay::start();
    let ran = script(&relay).run().expect(0);
    let summary = ran.summary();
    let metrics = &summary["metrics"];
    assert_eq!(metrics["iterations"]["count"], 6, "{summary}");
    assert_eq!(metrics["http_reqs"]["count"], 6);
    assert_eq!(metrics["hits"]["count"], 6);
    assert_eq!(metrics["checks"]["passes"], 6);
    assert_eq!(metrics["checks"]["fails"], 6);
    assert_eq!(metrics["checks"]["value"], 0.5, "rate is called value here");
    for stat in ["avg", "min", "med", "max", "p(90)", "p(95)"] {
        assert!(
            metrics["http_req_duration"][stat].is_number(),
            "{stat}: {metrics}"
        );
    }
    let group = &summary["root_group"]["groups"]["look"];
    assert_eq!(group["path"], "::look", "{summary}");
    assert_eq!(group["checks"]["is 200"]["passes"], 6);
    assert_eq!(group["checks"]["is odd"]["fails"], 6);
}

#[test]
fn summary_shows_checks_metrics_and_execution() {
    let relay = Relay::start();
    script(&relay).run().expect(0).prints(&[
        "TOTAL RESULTS",
        "checks_total",
        "checks_succeeded",
        "50.00%",
        "✓ is 200",
        "✗ is odd",
        "CUSTOM",
        "hits",
        "size",
        "HTTP",
        "http_req_duration",
        "http_reqs",
        "EXECUTION",
        "iterations",
        "NETWORK",
        "data_received",
    ]);
}

#[test]
fn system_tags_can_be_chosen_and_vu_and_iter_are_metadata() {
    let relay = Relay::start();
    let args = [
        "--system-tags",
        "vu,iter,status,ip",
        "--out",
        "json=out.json",
    ];
    let ran = script(&relay).args(args).run().expect(0);
    let text = ran.text("out.json");
    let point = text
        .lines()
        .find(|line| line.contains("\"http_reqs\",\"type\":\"Point"));
    let point: Value = serde_json::from_str(point.unwrap()).unwrap();
    let tags = json!({"ip": "127.0.0.1", "status": "200", "team": "red"});
    assert_eq!(point["data"]["tags"], tags);
    assert_eq!(point["data"]["metadata"]["iter"], "0", "{point}");
    assert!(point["data"]["metadata"]["vu"].is_string(), "{point}");
}

const TWO_SCENARIOS: &str = r#"
import { check, group } from 'k6';
export const options = { scenarios: {
    left: { executor: 'per-vu-iterations', exec: 'left' },
    right: { executor: 'per-vu-iterations', exec: 'right', iterations: 2 },
} };
export function left() {
    group('deep', () => check(1, { 'is two': (n) => n === 2 }));
}
export function right() { check(1, { 'is one': (n) => n === 1 }); }"#;

#[test]
fn full_summary_has_a_block_for_each_scenario_and_group() {
    let ran = Script::new(TWO_SCENARIOS)
        .args(["--summary-mode", "full"])
        .run()
        .expect(0);
    let text = &ran.finished.stdout;
    let left = text.find("█ SCENARIO: left").expect("a block");
    let deep = text.find("    ↳ GROUP: deep").expect("a group in it");
    let right = text.find("█ SCENARIO: right").expect("another block");
    assert!(left < deep && deep < right, "{text}");
    assert!(
        text[deep..right].contains("      ✗ is two\n        ↳  0% — ✓ 0 / ✗ 1"),
        "{text}"
    );
    assert!(
        text[right..].contains("checks_total.......................: 2"),
        "{text}"
    );
    let compact = Script::new(TWO_SCENARIOS).run().expect(0);
    assert!(!compact.finished.stdout.contains("SCENARIO"));
}

#[test]
fn disabled_summary_prints_nothing_and_skips_handle_summary() {
    let script = "export default function () {}
        export function handleSummary() { return { stdout: 'mine' }; }";
    let ran = Script::new(script)
        .args(["--summary-mode", "disabled"])
        .run()
        .expect(0);
    assert_eq!(ran.finished.stdout, "");
}

#[test]
fn machine_readable_summary_follows_its_schema() {
    let script = r#"
import { check } from 'k6';
export default function () { check(1, { 'is one': (n) => n === 1, 'is two': (n) => n === 2 }); }
export function handleSummary(data) { return { 'own.json': JSON.stringify(data) }; }"#;
    let ran = Script::new(script)
        .args(["--new-machine-readable-summary"])
        .run()
        .expect(0);
    let own: Value = serde_json::from_str(&ran.text("own.json")).unwrap();
    for summary in [ran.summary(), own] {
        assert_eq!(summary["version"], "1.0.0", "{summary}");
        assert_eq!(summary["config"]["execution"], "local");
        assert!(summary["metadata"]["generatedAt"].is_string());
        let metrics = summary["results"]["metrics"].as_array().unwrap();
        let iterations = metrics.iter().find(|m| m["name"] == "iterations").unwrap();
        let wanted = json!({
            "contains": "default", "name": "iterations", "type": "counter", "values": {"count": 1}
        });
        assert_eq!(*iterations, wanted);
        let checks = &summary["results"]["checks"];
        assert_eq!(
            checks["metrics"][2]["values"],
            json!({"matches": 1, "rate": 0.5, "total": 2})
        );
        assert_eq!(
            checks["results"][1],
            json!({"fails": 1, "name": "is two", "passes": 0})
        );
    }
}

#[test]
fn exceptions_of_iterations_are_counted_and_named() {
    let script = "export const options = { iterations: 5 };
        export default function () { throw new Error(__ITER < 3 ? 'often' : 'seldom'); }";
    Script::new(script).run().expect(0).prints(&[
        "SCRIPT EXCEPTIONS",
        "3 Error: often",
        "2 Error: seldom",
    ]);
}

#[test]
fn trend_stats_and_time_unit_can_be_chosen() {
    let relay = Relay::start();
    let ran = script(&relay)
        .args(["--summary-trend-stats", "avg,p(99.5),count"])
        .run()
        .expect(0);
    let trend = ran.metric("http_req_duration");
    let keys: BTreeSet<&String> = trend.as_object().unwrap().keys().collect();
    let stats: Vec<&str> = keys
        .iter()
        .map(|key| key.as_str())
        .filter(|k| *k != "thresholds")
        .collect();
    assert_eq!(stats, ["avg", "count", "p(99.5)"]);
    assert_eq!(trend["count"], 6);
}

#[test]
fn handle_summary_replaces_the_summary_and_writes_files() {
    let ran = Script::new(
        r#"
export const options = { iterations: 3 };
export default function () {}
export function handleSummary(data) {
    return {
        stdout: `did ${data.metrics.iterations.values.count} iterations\n`,
        'result.json': JSON.stringify(data),
    };
}"#,
    )
    .run()
    .expect(0)
    .prints(&["did 3 iterations"]);
    assert!(
        !ran.finished.stdout.contains("TOTAL RESULTS"),
        "{}",
        ran.finished.stdout
    );
    let data: Value = serde_json::from_str(&ran.text("result.json")).unwrap();
    assert_eq!(data["metrics"]["iterations"]["values"]["count"], 3);
    assert_eq!(data["metrics"]["iterations"]["type"], "counter");
    assert!(data["state"]["testRunDurationMs"].as_f64().unwrap() > 0.0);
    assert!(data["root_group"]["checks"].is_array(), "{data}");
}

#[test]
fn handle_summary_that_throws_leaves_the_default_summary() {
    Script::new(
        r#"
export default function () {}
export function handleSummary() { throw new Error('no summary today'); }"#,
    )
    .run()
    .expect(0)
    .prints(&["TOTAL RESULTS"])
    .says(&["no summary today"]);
}

#[test]
fn tags_of_the_command_line_replace_those_of_the_script() {
    let relay = Relay::start();
    let args = ["--tag", "colour=blue", "--out", "json=out.json"];
    let ran = script(&relay).args(args).run().expect(0);
    let text = ran.text("out.json");
    let point = text.lines().find(|line| line.contains("Point")).unwrap();
    let point: Value = serde_json::from_str(point).unwrap();
    assert_eq!(point["data"]["tags"]["colour"], "blue", "{point}");
    assert!(point["data"]["tags"].get("team").is_none(), "{point}");
}

#[test]
fn unknown_output_is_refused() {
    let refused = Script::new("export default function () {}").args(["--out", "carrier-pigeon"]);
    let ran = refused.run();
    assert_ne!(ran.finished.code, 0);
    ran.says(&["invalid output type 'carrier-pigeon'", "csv", "json"]);
}

#[test]
fn closed_stdout_keeps_the_run_s_exit_code() {
    let script = "export const options = { thresholds: { iterations: ['count>5'] } };
        export default function () {}";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script.js");
    std::fs::write(&path, script).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_dchat"))
        .args(["run", "--report-to", "none", "--quiet"])
        .arg(&path)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(99));
}

#[test]
fn summary_that_cannot_be_written_fails_the_run() {
    Script::new("export default function () {}")
        .args(["--summary-export", "missing/summary.json"])
        .run()
        .expect(255)
        .says(&["missing/summary.json"]);
}

#[test]
fn run_without_requests_gets_no_verdict() {
    let ran = Script::new("export default function () {}").run().expect(0);
    assert!(!ran.finished.stdout.contains("verdict"));
}
