//! Live control: the REST API of a run, its pause, its knobs, and orders through the relay.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::process::Process;
use crate::support::*;

/// A run under way with its REST API.
struct Steered {
    process: Process,
    api: SocketAddr,
    _dir: tempfile::TempDir,
}

/// Starts a script with these options, whose iterations take 50 ms, with `args`.
#[track_caller]
fn steered(options: &str, args: &[&str]) -> Steered {
    let script = Script::new(&format!(
        "import {{ sleep, group, check }} from 'k6';\n\
         export const options = {options};\n\
         export function setup() {{ console.log('set up'); return {{ from: 'setup' }}; }}\n\
         export default function (data) {{\n\
           if (__ITER === 0) console.log(`VU got ${{data && data.from}}`);\n\
           group('outer', () => check(1, {{ one: (n) => n === 1 }})); sleep(0.05);\n\
         }}\n\
         export function teardown(data) {{ console.log(`torn down ${{data && data.from}}`); }}"
    ));
    let (process, dir) = script
        .args(["--address", "127.0.0.1:0"])
        .args(args.iter().copied())
        .spawn();
    let address = eventually("the API has an address", || {
        let said = process.stderr();
        let rest = said.split("REST API: http://").nth(1)?;
        rest.split(['"', '\n']).next()?.parse().ok()
    });
    Steered {
        process,
        api: address,
        _dir: dir,
    }
}

impl Steered {
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        Client::to(self.api).get(path).expect(200).json()
    }

    #[track_caller]
    fn patch(&self, attributes: Value) -> Response {
        let document =
            json!({"data": {"type": "status", "id": "default", "attributes": attributes}});
        Request::new(self.api, "PATCH", "/v1/status")
            .json(&document)
            .send()
    }

    #[track_caller]
    fn attribute(&self, name: &str) -> Value {
        self.get("/v1/status")["data"]["attributes"][name].clone()
    }

    #[track_caller]
    fn until(&self, name: &str, value: Value) {
        eventually(&format!("{name} is {value}"), || {
            (self.attribute(name) == value).then_some(())
        });
    }

    #[track_caller]
    fn stop(&mut self) {
        self.patch(json!({"stopped": true})).expect(200);
        assert_eq!(self.process.ended_within(Duration::from_secs(60)), 103);
    }
}

#[test]
fn status_tells_of_the_run_and_stops_it_with_103() {
    let mut run = steered("{ vus: 2, duration: '10m' }", &[]);
    run.until("running", json!(true));
    run.until("vus", json!(2));
    let status = run.get("/v1/status");
    assert_eq!(status["data"]["type"], "status");
    assert_eq!(status["data"]["id"], "default");
    let expected = json!({"status": 7, "paused": false, "vus": 2, "vus-max": 2,
        "stopped": false, "running": true, "tainted": false});
    assert_eq!(status["data"]["attributes"], expected);
    run.stop();
    assert!(run.process.stderr().contains("torn down setup"));
    assert!(run.process.stdout().contains("TOTAL RESULTS"));
}

#[test]
fn metrics_and_groups_are_shown_while_it_runs() {
    let mut run = steered("{ vus: 1, duration: '10m' }", &[]);
    eventually("iterations are counted", || {
        let metrics = run.get("/v1/metrics");
        let list = metrics["data"].as_array().expect("a list").clone();
        let iterations = list.into_iter().find(|m| m["id"] == "iterations")?;
        assert_eq!(iterations["type"], "metrics");
        assert_eq!(iterations["attributes"]["type"], "counter");
        let count = iterations["attributes"]["sample"]["count"].as_u64();
        (count >= Some(2)).then_some(())
    });
    let one = run.get("/v1/metrics/iteration_duration");
    assert_eq!(one["data"]["attributes"]["contains"], "time");
    let groups = run.get("/v1/groups");
    let groups = groups["data"].as_array().expect("a list");
    assert_eq!(groups[0]["attributes"]["path"], "");
    assert_eq!(groups[1]["attributes"]["checks"][0]["name"], "one");
    let id = groups[1]["id"].as_str().expect("an id");
    let outer = run.get(&format!("/v1/groups/{id}"));
    assert_eq!(outer["data"]["attributes"]["name"], "outer");
    let answer = Client::to(run.api).get("/v1/metrics/nothing");
    assert_eq!(answer.expect(404).json()["errors"][0]["title"], "Not Found");
    run.stop();
}

#[test]
fn paused_run_begins_when_it_is_told() {
    let mut run = steered("{ iterations: 2 }", &["--paused"]);
    run.until("status", json!(4));
    assert!(!run.process.stderr().contains("set up"));
    run.patch(json!({"paused": true})).expect(500);
    run.patch(json!({"paused": false})).expect(200);
    assert_eq!(run.process.ended_within(Duration::from_secs(60)), 0);
    assert!(run.process.stderr().contains("set up"));
}

#[test]
fn setup_can_be_run_and_set_from_outside() {
    let flags = ["--paused", "--no-setup", "--no-teardown"];
    let mut run = steered("{ iterations: 1 }", &flags);
    run.until("status", json!(4));
    let none = run.get("/v1/setup");
    assert_eq!(none["data"]["attributes"]["data"], Value::Null);
    let ran = Request::new(run.api, "POST", "/v1/setup")
        .send()
        .expect(200);
    assert_eq!(ran.json()["data"]["attributes"]["data"]["from"], "setup");
    let own = json!({"from": "outside"});
    let put = Request::new(run.api, "PUT", "/v1/setup").json(&own).send();
    assert_eq!(put.expect(200).json()["data"]["type"], "setupData");
    Request::new(run.api, "POST", "/v1/teardown")
        .send()
        .expect(200);
    run.patch(json!({"paused": false})).expect(200);
    assert_eq!(run.process.ended_within(Duration::from_secs(60)), 0);
    let said = run.process.stderr();
    for part in ["torn down outside", "VU got outside"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn number_of_vus_is_changed_while_it_runs() {
    let mut run = steered("{ vus: 1, duration: '10m' }", &[]);
    run.until("vus", json!(1));
    run.patch(json!({"vus": 4})).expect(200);
    run.until("vus", json!(4));
    assert_eq!(run.attribute("vus-max"), 4);
    run.patch(json!({"vus": 2})).expect(200);
    run.until("vus", json!(2));
    let answer = run.patch(json!({"rate": 5})).expect(409);
    let text = answer.json()["errors"][0]["detail"].to_string();
    assert!(text.contains("'rate'"), "{text}");
    run.patch(json!({"vus": "many"})).expect(400);
    run.stop();
}

#[test]
fn rate_is_changed_while_it_runs() {
    let options = "{ scenarios: { s: { executor: 'constant-arrival-rate', rate: 1, timeUnit: '10m', duration: '10m', preAllocatedVUs: 5 } } }";
    let mut run = steered(options, &[]);
    run.until("running", json!(true));
    eventually("the knob is there", || {
        let answer = run.patch(json!({"rate": 60_000, "scenario": "s"}));
        (answer.status == 200).then_some(())
    });
    eventually("iterations come at 100/s", || {
        let metric = Client::to(run.api).get("/v1/metrics/iterations");
        let count = metric.json()["data"]["attributes"]["sample"]["count"].as_u64();
        (count >= Some(20)).then_some(())
    });
    run.patch(json!({"vus": 5})).expect(409);
    run.stop();
}

#[test]
fn address_that_is_taken_ends_106() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    Script::new("export default function () {}")
        .args(["--address", &address])
        .run()
        .expect(106)
        .says(&[&address]);
}

#[test]
fn lingering_api_outlives_the_test() {
    let mut run = steered("{ iterations: 1 }", &["--linger"]);
    run.until("status", json!(9));
    assert_eq!(run.attribute("running"), false);
    run.process.interrupt();
    assert_eq!(run.process.ended_within(Duration::from_secs(60)), 0);
}

#[test]
fn orders_reach_the_run_through_its_relay() {
    let relay = Relay::start();
    let (mut process, _dir) = Script::new(
        "import { sleep } from 'k6';\n\
         export const options = { vus: 1, duration: '10m' };\n\
         export default function () { if (__ITER === 0) console.log('VU', __VU); sleep(0.05); }",
    )
    .args(["--report-to", &relay.url()])
    .spawn();
    let run_id = eventually("the run is there", || {
        let runs = Client::to(relay.addr()).get("/api/v1/runs").json();
        Some(runs["runs"][0]["run_id"].as_str()?.to_owned())
    });
    let path = format!("/api/v1/runs/{run_id}/control");
    let order = |body: Value| Client::to(relay.addr()).post(&path, &body);
    order(json!({"rate": 5})).expect(409);
    order(json!({"vus": 3}));
    eventually("three VUs work", || {
        process.stderr().contains("VU 3").then_some(())
    });
    order(json!({"stop": true}));
    assert_eq!(process.ended_within(Duration::from_secs(60)), 103);
}
