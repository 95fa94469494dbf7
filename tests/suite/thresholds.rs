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
