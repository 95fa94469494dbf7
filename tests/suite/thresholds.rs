//! Thresholds: syntax, evaluation, abort, exit code 99.

use std::time::{Duration, Instant};

use crate::support::*;

/// A script with these thresholds that counts, gauges, rates and trends a little.
fn script(thresholds: &str) -> Script {
    Script::new(&format!(
        r#"
import {{ Counter, Gauge, Rate, Trend }} from 'k6/metrics';
import {{ check }} from 'k6';
export const options = {{ iterations: 10, thresholds: {thresholds} }};
const hits = new Counter('hits'), level = new Gauge('level');
const good = new Rate('good'), times = new Trend('times', true);
export default function () {{
    hits.add(2, {{ kind: __ITER % 2 ? 'odd' : 'even' }});
    level.add(__ITER);
    good.add(__ITER < 8);
    times.add(__ITER * 10, {{ kind: __ITER % 2 ? 'odd' : 'even' }});
    check(__ITER, {{ small: (n) => n < 9 }});
}}"#
    ))
}

#[test]
fn thresholds_that_hold_end_0() {
    script(
        r#"{
            hits: ['count==20', 'count>=20', 'rate>0'],
            level: ['value===9'],
            good: ['rate>0.79', 'rate<=0.8'],
            times: ['avg==45', 'min==0', 'max<91', 'med==45', 'p(90)<=81', 'p(99.9)<90'],
            checks: ['rate==0.9'],
            iterations: ['count==10'],
        }"#,
    )
    .run()
    .expect(0);
}

#[test]
fn one_that_is_crossed_ends_99_and_is_marked() {
    let ran = script("{ hits: ['count<5', 'count>5'], good: ['rate>0.99'] }")
        .run()
        .expect(99);
    let thresholds = &ran.metric("hits")["thresholds"];
    assert_eq!(
        thresholds["count<5"], true,
        "exported as failed: {thresholds}"
    );
    assert_eq!(thresholds["count>5"], false, "{thresholds}");
    ran.prints(&["✗ 'count<5'", "✓ 'count>5'"])
        .says(&["thresholds", "hits", "good"]);
}

#[test]
fn submetrics_see_only_their_tags() {
    let ran = script("{ 'hits{kind:odd}': ['count==10'], 'times{kind:even}': ['max==80'] }");
    let ran = ran.run().expect(0);
    assert_eq!(ran.metric("hits{kind:odd}")["count"], 10);
}

#[test]
fn empty_metrics_are_zero_and_empty_rates_pass() {
    let empty = Script::new(
        r#"
import { Counter, Rate, Trend } from 'k6/metrics';
export const options = { thresholds: { never: ['count==0'], rare: ['rate>0.99'], times: ['p(95)<1'] } };
new Counter('never'); new Rate('rare'); new Trend('times');
export default function () {}"#,
    );
    empty.run().expect(0);
}

#[test]
fn wrong_thresholds_are_refused_before_the_run() {
    for (thresholds, named) in [
        ("{ unheard: ['count>1'] }", "unheard"),
        ("{ hits: ['count>'] }", "count>"),
        ("{ hits: ['count ~ 5'] }", "count ~ 5"),
        ("{ hits: ['p(95)<1'] }", "p(95)"),
        ("{ good: ['avg<1'] }", "avg"),
        ("{ times: ['p(101)<1'] }", "p(101)"),
    ] {
        let ran = script(thresholds).run();
        assert_eq!(
            ran.finished.code, 104,
            "{thresholds}: {}",
            ran.finished.stderr
        );
        ran.says(&[named]);
    }
}

#[test]
fn abort_on_fail_ends_the_run_early_with_99() {
    let started = Instant::now();
    let ran = Script::new(
        r#"
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
export const options = {
    vus: 2, duration: '60s',
    thresholds: { bad: [{ threshold: 'count<1', abortOnFail: true }] },
};
const bad = new Counter('bad');
export default function () { bad.add(1); sleep(0.1); }
export function teardown() { console.log('torn down'); }"#,
    )
    .run()
    .expect(99);
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    ran.says(&["torn down"]);
}

#[test]
fn abort_waits_for_its_delay() {
    let ran = Script::new(
        r#"
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
export const options = {
    duration: '3s',
    thresholds: { bad: [{ threshold: 'count<1', abortOnFail: true, delayAbortEval: '1m' }] },
};
const bad = new Counter('bad');
export default function () { bad.add(1); sleep(0.1); }"#,
    )
    .run()
    .expect(99);
    let iterations = ran.metric("iterations")["count"].as_u64().unwrap();
    assert!(iterations > 20, "the whole 3 s: {iterations}");
}

#[test]
fn thresholds_can_be_switched_off() {
    script("{ hits: ['count<5'] }")
        .args(["--no-thresholds"])
        .run()
        .expect(0);
}

#[test]
fn failed_requests_cross_a_threshold_on_their_rate() {
    let relay = Relay::start();
    let ran = Script::new(
        r#"
import http from 'k6/http';
export const options = {
    iterations: 4,
    thresholds: { http_req_failed: ['rate<0.3'], http_req_duration: ['p(95)<5000'] },
};
export default function () { http.get(`${__ENV.RELAY}/${__ITER % 2 ? 'health' : 'nothing'}`); }"#,
    )
    .args(["-e", &format!("RELAY={}", relay.url())])
    .run()
    .expect(99);
    assert_eq!(ran.metric("http_req_failed")["value"], 0.5);
    assert_eq!(ran.metric("http_reqs")["count"], 4);
}

/// Two seconds whose first half is slow: `slow` of its samples are 100, the others 1.
fn slow_start(thresholds: &str) -> Script {
    Script::new(&format!(
        r#"
import {{ sleep }} from 'k6';
import {{ Trend }} from 'k6/metrics';
import exec from 'k6/execution';
export const options = {{ duration: '4s', thresholds: {{ times: {thresholds} }} }};
const times = new Trend('times');
export default function () {{
    times.add(exec.instance.currentTestRunDuration < 900 ? 100 : 1);
    sleep(0.02);
}}"#
    ))
}

#[test]
fn windowed_threshold_holds_in_every_window_or_is_crossed() {
    // Over the whole run the median is 1; in the first second it is 100.
    let windowed = "[{ threshold: 'med<50', window: '1s' }, 'med<50']";
    let ran = slow_start(windowed).run().expect(99);
    let thresholds = &ran.metric("times")["thresholds"];
    assert_eq!(thresholds["med<50"], false, "{thresholds}");
    assert_eq!(thresholds["med<50 per 1s"], true, "{thresholds}");
    ran.says(&["windows crossed the threshold, the first one from 0s on"]);
    // One window that is longer than the run is never complete.
    let long = "[{ threshold: 'med<50', window: '1m' }]";
    slow_start(long).run().expect(0);
    let aborting = "[{ threshold: 'med<50', window: '1s', abortOnFail: true }]";
    let ran = slow_start(aborting).run().expect(99);
    let times = ran.metric("iterations")["count"].as_u64().unwrap();
    assert!(times < 150, "it ended early: {times}");
    slow_start("[{ threshold: 'med<50', window: '1ms' }]")
        .run()
        .expect(104)
        .says(&["window"]);
}

/// A run whose trend is `value`, with a threshold relative to a baseline.
fn relative(value: u32) -> Script {
    Script::new(&format!(
        r#"
import {{ Trend }} from 'k6/metrics';
export const options = {{ iterations: 3, summaryTrendStats: ['avg', 'p(95)'],
    thresholds: {{ times: ['p(95) < 1.1 * baseline'] }} }};
const times = new Trend('times');
export default function () {{ times.add({value}); }}"#
    ))
}

#[test]
fn thresholds_compare_with_the_summary_of_an_earlier_run() {
    let first = relative(100).run().expect(0);
    first.says(&["'p(95) < 1.1 * baseline' of 'times' is skipped"]);
    let first = relative(100).run().expect(0);
    let baseline = first.path("summary.json").display().to_string();
    for (value, code) in [(105, 0), (111, 99)] {
        let ran = relative(value).args(["--baseline", &baseline]).run();
        assert_eq!(ran.finished.code, code, "{value}: {}", ran.finished.stderr);
    }
    relative(1)
        .args(["--baseline", "nowhere.json"])
        .run()
        .expect(255)
        .says(&["--baseline 'nowhere.json'"]);
}

#[test]
fn thresholds_compare_with_a_run_that_a_relay_has_stored() {
    let relay = Relay::start();
    let report = ["--report-to", &relay.url()];
    relative(100).args(report).run().expect(0);
    let runs = Client::to(relay.addr()).get("/api/v1/runs").json();
    let run_id = runs["runs"][0]["run_id"].as_str().expect("an id");
    for (value, code) in [(109, 0), (120, 99)] {
        let ran = relative(value)
            .args(report)
            .args(["--baseline", run_id])
            .run();
        assert_eq!(ran.finished.code, code, "{value}: {}", ran.finished.stderr);
    }
    let page = format!("{}/?run={run_id}", relay.url());
    relative(120).args(["--baseline", &page]).run().expect(99);
}

#[test]
fn exceptions_fail_the_run_when_they_are_to() {
    let script = "export const options = { iterations: 3 };\n\
        export default function () { if (__ITER === 1) throw new Error('oh no'); }";
    Script::new(script).run().expect(0);
    Script::new(script)
        .args(["--fail-on-exception"])
        .run()
        .expect(107)
        .says(&["oh no", "1 iterations ended in an uncaught exception"]);
}
