//! Executors: who runs how many iterations when, and how they stop.
//!
//! Times are generous: what is exact about schedules is tested in the module, without a clock.

use std::time::{Duration, Instant};

use crate::support::*;

/// A script with these options whose default function does `body`; sleeping is at hand.
fn script(options: &str, body: &str) -> Script {
    Script::new(&format!(
        "import {{ sleep }} from 'k6';\nimport {{ Counter }} from 'k6/metrics';\n\
         import exec from 'k6/execution';\n\
         export const options = {options};\nconst seen = new Counter('seen');\n\
         export default function () {{ {body} }}"
    ))
}

#[track_caller]
fn count(ran: &crate::support::script::Ran, metric: &str) -> u64 {
    ran.metric(metric)["count"].as_u64().unwrap_or(0)
}

#[test]
fn nothing_said_is_one_iteration_of_one_vu() {
    let ran = script("{}", "").run().expect(0);
    assert_eq!(count(&ran, "iterations"), 1);
}

#[test]
fn iterations_are_shared_by_the_vus() {
    let ran = script("{ vus: 4, iterations: 30 }", "sleep(0.001)")
        .run()
        .expect(0);
    assert_eq!(count(&ran, "iterations"), 30);
}

#[test]
fn iterations_per_vu_are_the_same_for_each() {
    let scenario = "{ scenarios: { s: { executor: 'per-vu-iterations', vus: 3, iterations: 5 } } }";
    let ran = script(scenario, "seen.add(1, { vu: String(__VU) })")
        .args(["--out", "json=out.json"])
        .run()
        .expect(0);
    assert_eq!(count(&ran, "iterations"), 15);
    let text = ran.text("out.json");
    for vu in ["1", "2", "3"] {
        let own = text.lines().filter(|line| {
            line.contains("\"Point\"")
                && line.contains("\"seen\"")
                && line.contains(&format!("\"vu\":\"{vu}\""))
        });
        assert_eq!(own.count(), 5, "VU {vu}");
    }
}

#[test]
fn constant_vus_iterate_for_the_duration() {
    let started = Instant::now();
    let ran = script("{ vus: 3, duration: '2s' }", "sleep(0.1)")
        .run()
        .expect(0);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(20),
        "{took:?}"
    );
    let iterations = count(&ran, "iterations");
    assert!(
        (20..=60).contains(&iterations),
        "{iterations} of at most 60"
    );
    assert_eq!(ran.metric("vus_max")["value"], 3);
}

#[test]
fn stages_ramp_vus_up_and_down() {
    let stages = "{ stages: [{ duration: '1s', target: 10 }, { duration: '1s', target: 10 }, { duration: '1s', target: 0 }] }";
    let ran = script(stages, "sleep(0.05)").run().expect(0);
    assert_eq!(ran.metric("vus_max")["value"], 10);
    let iterations = count(&ran, "iterations");
    assert!(
        (100..=420).contains(&iterations),
        "about 20 VU-seconds of 20 each: {iterations}"
    );
}

#[test]
fn iterations_that_do_not_fit_are_dropped_and_counted() {
    let scenario = "{ scenarios: { s: { executor: 'shared-iterations', vus: 2, iterations: 1000, maxDuration: '1s', gracefulStop: '5s' } } }";
    let ran = script(scenario, "sleep(0.1)").run().expect(0);
    let (done, dropped) = (count(&ran, "iterations"), count(&ran, "dropped_iterations"));
    assert_eq!(done + dropped, 1000, "{done} + {dropped}");
    assert!(done >= 5, "{done}");
}

#[test]
fn running_iterations_may_finish_within_graceful_stop() {
    let options = "{ scenarios: { s: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '20s' } } }";
    let ran = script(options, "sleep(1.5); seen.add(1)").run().expect(0);
    assert_eq!(count(&ran, "seen"), 2);
    assert_eq!(count(&ran, "iterations"), 2);
}

#[test]
fn iterations_past_graceful_stop_are_interrupted_and_do_not_count() {
    let options = "{ scenarios: { s: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s' } } }";
    let started = Instant::now();
    let ran = script(options, "sleep(60); seen.add(1)").run().expect(0);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert_eq!((count(&ran, "seen"), count(&ran, "iterations")), (0, 0));
}

#[test]
fn looping_vus_stop_neither_the_others_nor_the_end() {
    let options = "{ scenarios: { s: { executor: 'constant-vus', vus: 4, duration: '2s', gracefulStop: '1s' } } }";
    let body = "if (__VU === 1) { while (true) {} }
        if (__VU === 2) { while (1) try { sleep(1) } catch (e) {} }
        sleep(0.1); seen.add(1);";
    let started = Instant::now();
    let ran = script(options, body).run().expect(0);
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
    let others = count(&ran, "seen");
    assert!(others >= 10, "the two others went on: {others}");
}

#[test]
fn iteration_that_throws_counts_and_the_run_goes_on() {
    let ran = script("{ iterations: 3 }", "throw new Error('oh no')")
        .run()
        .expect(0);
    assert_eq!(count(&ran, "iterations"), 3);
    ran.says(&["oh no", "script.js:"]);
}

#[test]
fn scenarios_run_beside_each_other_with_their_own_functions() {
    let ran = Script::new(
        r#"
import { Counter } from 'k6/metrics';
import exec from 'k6/execution';
export const options = { scenarios: {
    one: { executor: 'shared-iterations', vus: 1, iterations: 2, exec: 'first', env: { WHO: 'x' } },
    two: { executor: 'per-vu-iterations', vus: 2, iterations: 3, exec: 'second', tags: { kind: 'b' }, startTime: '1s' },
} };
const seen = new Counter('seen');
export function first() { seen.add(1, { who: __ENV.WHO + exec.scenario.name }); }
export function second() { seen.add(1, { who: 'second' }); }"#,
    )
    .args(["--out", "json=out.json"])
    .run()
    .expect(0);
    assert_eq!(count(&ran, "iterations"), 8);
    let text = ran.text("out.json");
    let points = |part: &str| {
        text.lines()
            .filter(|line| {
                line.contains("\"Point\"") && line.contains("\"seen\"") && line.contains(part)
            })
            .count()
    };
    assert_eq!(
        (points("\"who\":\"xone\""), points("\"kind\":\"b\"")),
        (2, 6)
    );
    assert_eq!(points("\"scenario\":\"two\""), 6);
}

#[test]
fn flags_win_over_the_options_of_the_script() {
    let ran = script("{ vus: 50, duration: '10m' }", "")
        .args(["-u", "2", "-i", "7"])
        .run()
        .expect(0);
    assert_eq!(count(&ran, "iterations"), 7);
    let ran = script("{ iterations: 9 }", "")
        .env("K6_ITERATIONS", "4")
        .run()
        .expect(0);
    assert_eq!(count(&ran, "iterations"), 4);
    let started = Instant::now();
    script("{ iterations: 1 }", "sleep(0.01)")
        .args(["-s", "1s:2", "-s", "0s:0"])
        .run()
        .expect(0);
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[test]
fn all_mistakes_in_the_options_are_told_at_once() {
    let options = "{ scenarios: {
        a: { executor: 'constant-vus', vus: 0, duration: '1s' },
        b: { executor: 'warp-drive' },
        c: { executor: 'shared-iterations', iterations: 1, colour: 'red' },
    } }";
    script(options, "")
        .run()
        .expect(104)
        .says(&["vus", "warp-drive", "colour"]);
    script(
        "{ duration: '1s', iterations: 1, stages: [{ duration: '1s', target: 1 }] }",
        "",
    )
    .run()
    .expect(104);
    script("{ vus: 1, colour: 'red' }", "")
        .run()
        .expect(0)
        .says(&["colour"]);
}

#[test]
fn interrupt_ends_the_run_with_105_after_teardown_and_summary() {
    let (mut process, _dir) = Script::new(
        r#"
import { sleep } from 'k6';
export const options = { vus: 2, duration: '10m' };
export default function () { sleep(0.05); if (__ITER === 3) console.log('iterating'); }
export function teardown() { console.log('torn down'); }"#,
    )
    .spawn();
    eventually("it has begun", || {
        process.stderr().contains("iterating").then_some(())
    });
    process.interrupt();
    assert_eq!(process.ended_within(Duration::from_secs(60)), 105);
    assert!(
        process.stderr().contains("torn down"),
        "{}",
        process.stderr()
    );
    assert!(
        process.stdout().contains("iterations"),
        "{}",
        process.stdout()
    );
}

#[test]
fn second_interrupt_ends_at_once() {
    let (mut process, _dir) = Script::new(
        r#"
import { sleep } from 'k6';
export const options = { vus: 1, duration: '10m' };
export default function () { console.log('iterating'); sleep(600); }
export function teardown() { console.log('tearing down'); sleep(600); }"#,
    )
    .spawn();
    eventually("it has begun", || {
        process.stderr().contains("iterating").then_some(())
    });
    process.interrupt();
    eventually("it tears down", || {
        process.stderr().contains("tearing down").then_some(())
    });
    process.interrupt();
    assert_eq!(process.ended_within(Duration::from_secs(30)), 105);
}

#[test]
fn arrival_rate_starts_every_iteration_that_has_a_vu() {
    let options = "{ scenarios: { s: { executor: 'constant-arrival-rate', rate: 20, duration: '2s', preAllocatedVUs: 5 } } }";
    let ran = script(options, "sleep(0.05)").run().expect(0);
    let (done, dropped) = (count(&ran, "iterations"), count(&ran, "dropped_iterations"));
    assert_eq!(done + dropped, 40, "{done} + {dropped}");
    assert!(done >= 30, "{done}");
}

#[test]
fn arrivals_that_outnumber_the_vus_warn_once_and_count_as_dropped() {
    let options = "{ scenarios: { s: { executor: 'ramping-arrival-rate', startRate: 20, stages: [{ duration: '2s', target: 20 }], preAllocatedVUs: 1, maxVUs: 3, gracefulStop: '0s' } } }";
    let ran = script(options, "sleep(10)").run().expect(0);
    assert_eq!(count(&ran, "iterations"), 0);
    assert_eq!(count(&ran, "dropped_iterations"), 37);
    assert_eq!(ran.metric("vus_max")["max"], 3);
    let warning = "Insufficient VUs, reached 3 active VUs and cannot initialize more";
    let warnings = ran.finished.stderr.matches(warning).count();
    assert_eq!(warnings, 1, "{}", ran.finished.stderr);
}

#[test]
fn segments_of_a_test_add_up_to_it() {
    let options = "{ scenarios: {
        shared: { executor: 'shared-iterations', vus: 3, iterations: 11 },
        own: { executor: 'per-vu-iterations', vus: 4, iterations: 2 },
        arrivals: { executor: 'constant-arrival-rate', rate: 15, duration: '1s', preAllocatedVUs: 6 },
    } }";
    let body = "seen.add(1, { which: `${exec.scenario.name}${exec.scenario.iterationInTest}` })";
    let mut seen = Vec::new();
    let mut iterations = 0;
    for segment in ["0:1/3", "1/3:2/3", "2/3:1"] {
        let ran = script(options, body)
            .env("K6_EXECUTION_SEGMENT", segment)
            .env("K6_EXECUTION_SEGMENT_SEQUENCE", "0,1/3,2/3,1")
            .args(["--out", "json=out.json"])
            .run()
            .expect(0);
        iterations += count(&ran, "iterations");
        seen.extend(ran.text("out.json").lines().filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let which = line["data"]["tags"]["which"].as_str()?;
            Some(which.to_owned())
        }));
    }
    assert_eq!(iterations, 11 + 8 + 15);
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!((all, seen.len()), (34, 34), "no number runs twice");
}

#[test]
fn every_vu_is_set_up_and_torn_down_once() {
    let ran = Script::new(
        r#"
import { Counter } from 'k6/metrics';
import exec from 'k6/execution';
export const options = { scenarios: {
    a: { executor: 'shared-iterations', vus: 2, iterations: 10 },
    b: { executor: 'constant-arrival-rate', rate: 20, duration: '1s', preAllocatedVUs: 2, startTime: '1s' },
} };
const ups = new Counter('ups'), downs = new Counter('downs');
let mine;
export function setup() { return { from: 'setup' }; }
export function vuSetup(data) { mine = `${data.from}${exec.vu.idInTest}`; ups.add(1); }
export default function () {
    if (mine !== `setup${exec.vu.idInTest}`) throw new Error(`not set up: ${mine}`);
}
export function vuTeardown(data) { downs.add(1); console.log(`gone ${data.from}`); }"#,
    )
    .args(["--fail-on-exception"])
    .run()
    .expect(0);
    let (ups, downs) = (count(&ran, "ups"), count(&ran, "downs"));
    assert!((2..=4).contains(&ups), "{ups}");
    assert_eq!(ups, downs);
    ran.says(&["gone setup"]);
}

#[test]
fn hanging_vu_teardown_ends_with_its_timeout() {
    let started = Instant::now();
    Script::new(
        "import { sleep } from 'k6';\n\
         export const options = { vus: 2, iterations: 4, teardownTimeout: '1s' };\n\
         export default function () { sleep(0.01); }\n\
         export function vuTeardown() { sleep(600); }",
    )
    .run()
    .expect(0);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn late_iterations_are_measured_from_when_they_were_due() {
    // One core's worth of work is asked for three times: VUs wait for their thread.
    let options = "{ scenarios: { s: { executor: 'constant-arrival-rate', rate: 100, duration: '1s', preAllocatedVUs: 100, gracefulStop: '30s' } } }";
    let body = "const end = Date.now() + 60; while (Date.now() < end) {}";
    let ran = script(options, body).run().expect(0);
    let p95 = |metric: &str| ran.metric(metric)["p(95)"].as_f64().unwrap_or_default();
    let (plain, late) = (
        p95("iteration_duration"),
        p95("iteration_duration_from_schedule"),
    );
    assert!(late > plain, "{late} > {plain}");
}

#[test]
fn requests_per_second_are_limited_for_all_vus_together() {
    let relay = Relay::start();
    let started = Instant::now();
    let ran = Script::new(
        "import http from 'k6/http';\n\
         export const options = { vus: 4, iterations: 40, rps: 20 };\n\
         export default function () { http.get(`${__ENV.RELAY}/health`); }",
    )
    .args(["-e", &format!("RELAY={}", relay.url())])
    .run()
    .expect(0);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    // Waiting for its place is no part of a request.
    let slowest = ran.metric("http_req_duration")["max"].as_f64().unwrap();
    assert!(slowest < 1_500.0, "{slowest}");
}

#[test]
fn vus_of_segments_have_their_numbers_of_the_whole_test() {
    let options = "{ scenarios: { s: { executor: 'per-vu-iterations', vus: 5 } } }";
    let body = "seen.add(1, { own: `${exec.vu.idInTest} ${exec.vu.idInInstance === __VU}` })";
    let mut numbers = Vec::new();
    for segment in ["0:1/2", "1/2:1"] {
        let ran = script(options, body)
            .args(["--execution-segment", segment, "--out", "json=out.json"])
            .run()
            .expect(0);
        let text = ran.text("out.json");
        numbers.extend(text.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["data"]["tags"]["own"].as_str()?.to_owned())
        }));
    }
    numbers.sort();
    assert_eq!(numbers, ["1 true", "2 true", "3 true", "4 true", "5 true"]);
}
