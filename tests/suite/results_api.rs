//! The runs API: the HTTP contract of load-test runs, and what the reporter makes of it.

use std::io::{BufRead, BufReader, Write};

use crate::support::*;

/// A run of three seconds that started now and has two series, as a reporter sends it.
pub struct SentRun {
    pub id: String,
    /// Unix second of its first points.
    pub second: i64,
}

impl SentRun {
    pub fn register(relay: &Relay, id: &str, name: &str) -> SentRun {
        let body = json!({
            "run_id": id, "name": name, "script": {"name": "test.js", "text": "// the script"},
            "options": {"vus": 2}, "thresholds": {"http_req_duration": ["p(95)<500"]},
            "tags": {"env": "lab"}, "target": "http://user:secret@127.0.0.1:7071/",
            "host": {"cpus": 2, "os": "linux", "versions": {"dchat": "0"}},
        });
        let answer = relay.post("/api/v1/runs", &body).expect(200).json();
        assert_eq!(answer["run_id"], id);
        let now_ms = answer["relay_time_ms"].as_i64().expect("the relay's clock");
        SentRun {
            id: id.to_owned(),
            second: now_ms / 1_000,
        }
    }

    pub fn send(&self, relay: &Relay, batch: u64, points: Vec<Value>) -> Value {
        let body = json!({"source": "t", "batch": batch, "points": points});
        let path = format!("/api/v1/runs/{}/samples", self.id);
        relay.post(&path, &body).expect(200).json()
    }

    /// Three seconds of 10 requests each: one failed, durations 1 to 10 ms.
    pub fn points(&self) -> Vec<Value> {
        let tags = json!({"method": "GET", "name": "/health", "status": "200"});
        let mut points = Vec::new();
        for t in self.second..self.second + 3 {
            let point = |metric: &str, kind: &str, sum: f64, tags: &Value| {
                json!({"t": t, "metric": metric, "type": kind, "tags": tags,
                       "count": 10, "sum": sum, "min": 0, "max": 1})
            };
            points.push(point("http_reqs", "counter", 10.0, &tags));
            points.push(point("http_req_failed", "rate", 1.0, &tags));
            points.push(json!({"t": t, "metric": "vus", "type": "gauge", "tags": {},
                               "count": 1, "sum": 2, "min": 2, "max": 2}));
            points.push(
                json!({"t": t, "metric": "http_req_duration", "type": "trend",
                               "tags": tags, "count": 10, "sum": 55, "min": 1, "max": 10,
                               "hist": "x1,2,3,4,5,6,7,8,9,10"}),
            );
            points.push(json!({"t": t, "metric": "checks", "type": "rate",
                               "tags": {"check": "is <b>fine</b>"},
                               "count": 10, "sum": 9, "min": 0, "max": 1}));
        }
        points
    }

    pub fn finish(&self, relay: &Relay, exit_code: u8) -> Value {
        let body = json!({
            "exit_code": exit_code, "abort": null, "summary": {"metrics": {}},
            "thresholds": [{"metric": "http_req_duration", "source": "p(95)<500", "ok": true,
                            "abort_on_fail": false}],
            "checks": [{"name": "is <b>fine</b>", "group": "", "passes": 27, "fails": 3}],
        });
        let path = format!("/api/v1/runs/{}/finish", self.id);
        relay.post(&path, &body).expect(200).json()
    }

    pub fn get(&self, relay: &Relay, rest: &str) -> Value {
        relay
            .get(&format!("/api/v1/runs/{}{rest}", self.id))
            .expect(200)
            .json()
    }
}

pub const RUN_A: &str = "0192f0c4-8a3b-7d10-8aaa-00000000000a";
pub const RUN_B: &str = "0192f0c4-8a3b-7d10-8aaa-00000000000b";

#[test]
fn repeated_registration_changes_nothing() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "first");
    SentRun::register(&relay, RUN_A, "second");
    let whole = run.get(&relay, "");
    assert_eq!(whole["name"], "first");
    assert_eq!(whole["state"], "running");
    assert_eq!(whole["verdict"], Value::Null);
    assert_eq!(whole["tags"], json!({"env": "lab"}));
    assert_eq!(whole["script"]["text"], "// the script");
    // Credentials are dropped wherever they come from.
    assert_eq!(whole["target"], "http://127.0.0.1:7071/");
}

#[test]
fn samples_are_idempotent_and_batches_add_up() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    let first = run.send(&relay, 1, run.points());
    assert_eq!(
        (&first["duplicate"], &first["control"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(run.send(&relay, 1, run.points())["duplicate"], true);
    let once = run.get(&relay, "/series?metric=http_reqs&step=1");
    assert_eq!(once["metrics"][0]["sum"], json!([10.0, 10.0, 10.0]));
    run.send(&relay, 2, run.points());
    let twice = run.get(&relay, "/series?metric=http_reqs&step=1");
    assert_eq!(twice["metrics"][0]["sum"], json!([20.0, 20.0, 20.0]));
}

#[test]
fn percentiles_come_from_merged_histograms() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    run.send(&relay, 1, run.points());
    let answer = run.get(&relay, "/series?metric=http_req_duration,vus&step=86400");
    let [trend, vus] = &answer["metrics"].as_array().expect("a list")[..] else {
        panic!("two metrics: {answer}")
    };
    assert_eq!(
        (&trend["metric"], &vus["metric"]),
        (&json!("http_req_duration"), &json!("vus"))
    );
    assert_eq!(trend["window"]["count"], 30);
    assert_eq!(trend["window"]["p50"], 5.5);
    assert_eq!(trend["window"]["max"], 10.0);
    assert_eq!(trend["t"].as_array().map(Vec::len), Some(1));
    assert_eq!(vus["max"][0], 2.0);
    assert!(vus.get("p95").is_none(), "{vus}");
    // A window within the run, and a tag that nothing has.
    let (from, to) = (run.second * 1_000, run.second * 1_000 + 999);
    let one = run.get(
        &relay,
        &format!("/series?metric=http_reqs&from={from}&to={to}"),
    );
    assert_eq!(one["metrics"][0]["window"]["sum"], 10.0);
    let none = run.get(&relay, "/series?metric=http_reqs&tags=status:500");
    assert_eq!(none["metrics"], json!([]));
    let some = run.get(
        &relay,
        "/series?metric=http_reqs&tags=%7B%22status%22%3A%22200%22%7D",
    );
    assert_eq!(some["metrics"][0]["series"], 1);
}

#[test]
fn finished_run_is_judged_and_repeatable() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    run.send(&relay, 1, run.points());
    assert_eq!(run.finish(&relay, 99)["state"], "finished");
    assert_eq!(run.finish(&relay, 99)["exit_code"], 99);
    let whole = run.get(&relay, "");
    // One in ten requests failed.
    assert_eq!(whole["verdict"], "warning");
    let rows = whole["judgement"]["rows"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(
        names,
        [Some("p95"), Some("p99"), Some("errors"), Some("throughput")]
    );
    assert_eq!(rows[2]["figure"], "10.00 %");
    assert_eq!(whole["threshold_verdicts"][0]["ok"], true);
    assert_eq!(whole["checks"][0]["fails"], 3);
    let text = whole["judgement"]["text"].as_str().expect("a table");
    assert!(text.starts_with("verdict: warning\n"), "{text}");

    let stopped = SentRun::register(&relay, RUN_B, "stopped");
    assert_eq!(stopped.finish(&relay, 105)["state"], "aborted");
}

#[test]
fn runs_survive_kill_and_restart() {
    let mut relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    run.send(&relay, 1, run.points());
    relay.kill();
    relay.restart();
    let series = run.get(&relay, "/series?metric=http_reqs");
    assert_eq!(series["metrics"][0]["window"]["sum"], 30.0);
    assert_eq!(run.send(&relay, 1, run.points())["duplicate"], true);
    run.finish(&relay, 0);
    relay.stop();
    relay.restart();
    assert_eq!(run.get(&relay, "")["state"], "finished");
}

#[test]
fn list_is_newest_first_paged_and_filtered() {
    let relay = Relay::start();
    for n in 1..=5 {
        let id = format!("0192f0c4-8a3b-7d10-8aaa-00000000000{n}");
        let body = json!({"run_id": id, "name": format!("run {n}"), "tags": {"n": n.to_string()},
                          "started_at": 1_700_000_000_000_i64 + n});
        relay.post("/api/v1/runs", &body).expect(200);
    }
    let names = |query: &str| -> (Vec<String>, Value) {
        let page = relay
            .get(&format!("/api/v1/runs?{query}"))
            .expect(200)
            .json();
        let runs = page["runs"].as_array().expect("a list").clone();
        let names = runs
            .iter()
            .map(|run| run["name"].as_str().unwrap().to_owned());
        (names.collect(), page)
    };
    let (first, page) = names("limit=2");
    assert_eq!(first, ["run 5", "run 4"]);
    assert_eq!(page["has_more"], true);
    let next = page["next_before"].as_str().expect("a cursor");
    assert_eq!(
        names(&format!("limit=3&before={next}")).0,
        ["run 3", "run 2", "run 1"]
    );
    assert_eq!(names("q=RUN%204").0, ["run 4"]);
    assert_eq!(names("tag=n%3D2").0, ["run 2"]);
    assert_eq!(names("tag=n").0.len(), 5);
    assert_eq!(names("tag=other").0.len(), 0);
    relay
        .get("/api/v1/runs?limit=0")
        .refused(400, "INVALID_QUERY");
    relay
        .get("/api/v1/runs?before=x")
        .refused(400, "INVALID_QUERY");
}

#[test]
fn bad_calls_name_field_and_rule() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    let samples = format!("/api/v1/runs/{RUN_A}/samples");
    let field = |path: &str, body: Value| -> String {
        let error = relay.post(path, &body).refused(400, "INVALID_RUN");
        error["field"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(field("/api/v1/runs", json!({"run_id": "x"})), "run_id");
    assert_eq!(
        field("/api/v1/runs", json!({"run_id": RUN_B, "tags": {"a": 1}})),
        "tags"
    );
    assert_eq!(field(&samples, json!({"batch": 1, "points": []})), "source");
    let point = |t: Value, kind: &str| {
        json!({"source": "t", "batch": 9, "points":
               [{"t": t, "metric": "m", "type": kind, "count": 1, "sum": 1}]})
    };
    assert_eq!(
        field(&samples, point(json!("now"), "counter")),
        "points[0].t"
    );
    assert_eq!(
        field(&samples, point(json!(1_700_000_000_000_i64), "counter")),
        "points[0].t"
    );
    assert_eq!(field(&samples, point(json!(1), "sum")), "points[0].type");
    let too_many: Vec<Value> = (0..5_001).map(|_| json!({})).collect();
    let body = json!({"source": "t", "batch": 9, "points": too_many});
    assert_eq!(field(&samples, body), "points");
    // What was refused has left no batch behind.
    assert_eq!(run.send(&relay, 9, run.points())["duplicate"], false);
    relay.post_text(&samples, "{").refused(400, "INVALID_JSON");
    for path in ["/api/v1/runs/x", &format!("/api/v1/runs/{RUN_B}")] {
        relay.get(path).refused(404, "RUN_NOT_FOUND");
        relay.delete(path).refused(404, "RUN_NOT_FOUND");
        let body = json!({"source": "t", "batch": 1, "points": []});
        relay
            .post(&format!("{path}/samples"), &body)
            .refused(404, "RUN_NOT_FOUND");
        relay
            .get(&format!("{path}/series"))
            .refused(404, "RUN_NOT_FOUND");
        relay
            .get(&format!("{path}/events"))
            .refused(404, "RUN_NOT_FOUND");
    }
    let series = format!("/api/v1/runs/{RUN_A}/series");
    for query in [
        "from=2&to=1",
        "step=0",
        "tags=x",
        "from=0&to=9999999999999&step=1",
    ] {
        relay
            .get(&format!("{series}?{query}"))
            .refused(400, "INVALID_QUERY");
    }
}

#[test]
fn events_tell_of_points_and_of_the_end() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    let mut events = relay.events(&format!("/api/v1/runs/{RUN_A}/events"));
    let mut next = |wanted: &str| -> Value {
        loop {
            let event = events.next();
            if event.event.as_deref() == Some(wanted) {
                return serde_json::from_str(&event.data.unwrap()).unwrap();
            }
        }
    };
    assert_eq!(next("run")["state"], "running");
    run.send(&relay, 1, run.points());
    let window = next("points");
    assert_eq!(window["from"], run.second * 1_000);
    assert_eq!(window["to"], (run.second + 2) * 1_000 + 999);
    run.finish(&relay, 0);
    assert_eq!(next("run")["state"], "finished");
}

#[test]
fn deleted_run_is_gone() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    run.send(&relay, 1, run.points());
    let path = format!("/api/v1/runs/{RUN_A}");
    assert_eq!(relay.delete(&path).status, 204);
    relay.get(&path).refused(404, "RUN_NOT_FOUND");
    // The same id may come again and starts empty.
    let again = SentRun::register(&relay, RUN_A, "again");
    assert_eq!(again.get(&relay, "/series")["metrics"], json!([]));
}

#[test]
fn traffic_of_runs_counts_in_no_message_metric() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "r");
    run.send(&relay, 1, run.points());
    let metrics = relay.get("/metrics").expect(200).text();
    let accepted = metrics
        .lines()
        .find(|line| line.starts_with("dchat_messages_accepted_total"));
    assert_eq!(accepted, Some("dchat_messages_accepted_total 0"));
}

#[test]
fn run_reports_itself_and_terminal_and_page_say_the_same() {
    let relay = Relay::start();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("t.js");
    std::fs::write(
        &script,
        "import http from 'k6/http'; import { check } from 'k6';
         export const options = { iterations: 20, vus: 2, tags: { env: 'lab' } };
         export default function () {
           const r = http.get(`${__ENV.U}/api/v1/messages/nobody-${__ITER}`);
           check(r, { 'is 404': (r) => r.status === 404 });
         }",
    )
    .unwrap();
    let run = dchat(["run", "--report-to", &relay.url(), "-e"])
        .arg(format!("U={}", relay.url()))
        .arg(&script)
        .within_dir(dir.path())
        .run()
        .expect(0);
    let page = relay.get("/api/v1/runs").expect(200).json();
    let id = page["runs"][0]["run_id"]
        .as_str()
        .expect("one run")
        .to_owned();
    let whole = relay.get(&format!("/api/v1/runs/{id}")).expect(200).json();
    assert_eq!(whole["state"], "finished");
    assert_eq!(whole["tags"], json!({"env": "lab"}));
    for line in whole["judgement"]["text"].as_str().unwrap().lines() {
        assert!(
            run.stdout.contains(line.trim()),
            "{line:?} in {}",
            run.stdout
        );
    }
    let series = format!("/api/v1/runs/{id}/series?metric=http_reqs&tags=status:404,method:GET");
    let series = relay.get(&series).expect(200).json();
    assert_eq!(series["metrics"][0]["window"]["sum"], 20.0);
    // Ids are cut out of names, and values of -e are stored nowhere but in URLs.
    let names: Vec<&Value> = whole["series"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["metric"] == "http_reqs")
        .map(|one| &one["tags"]["name"])
        .collect();
    assert_eq!(names, [&json!("/api/v1/messages/{id}")]);
}

#[test]
fn undelivered_run_goes_into_a_file_that_imports() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("t.js");
    std::fs::write(&script, "export default function () {}").unwrap();
    let gone = "http://127.0.0.1:9";
    let run = dchat(["run", "-i", "5", "--report-to", gone])
        .arg(&script)
        .within_dir(dir.path())
        .run()
        .expect(0);
    assert!(run.stderr.contains("dchat runs import"), "{}", run.stderr);
    let file = std::fs::read_dir(dir.path())
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ext| ext == "ndjson"))
        .expect("a file was written");

    let relay = Relay::start();
    let import = || {
        dchat(["runs", "import", "--url", &relay.url()])
            .arg(&file)
            .run()
            .expect(0)
            .stdout
    };
    assert!(import().contains("0 known before"));
    assert!(
        !import().contains("0 known before"),
        "a repeat adds nothing"
    );
    let page = relay.get("/api/v1/runs").expect(200).json();
    let id = page["runs"][0]["run_id"].as_str().unwrap();
    assert_eq!(page["runs"][0]["state"], "finished");
    let series = relay.get(&format!("/api/v1/runs/{id}/series?metric=iterations"));
    assert_eq!(
        series.expect(200).json()["metrics"][0]["window"]["sum"],
        5.0
    );
    dchat(["runs", "show", "latest", "--url", &relay.url()])
        .run()
        .expect(0)
        .prints(&["finished", "verdict"]);
}

#[test]
fn broken_import_names_its_line_and_stores_nothing() {
    let relay = Relay::start();
    let register = json!({"call": "register", "body": {"run_id": RUN_A, "name": "r"}});
    let mut file = Vec::new();
    writeln!(file, "{register}").unwrap();
    writeln!(
        file,
        "{}",
        json!({"call": "samples", "run_id": RUN_A, "body": {}})
    )
    .unwrap();
    let error = relay
        .request("POST", "/api/v1/runs/import")
        .body("application/x-ndjson", &file)
        .send()
        .refused(400, "INVALID_RUN");
    assert_eq!(error["field"], "line[2].source");
    relay
        .get(&format!("/api/v1/runs/{RUN_A}"))
        .refused(404, "RUN_NOT_FOUND");
    let lines = BufReader::new(&file[..]).lines().count();
    assert_eq!(lines, 2);
}

#[test]
fn relay_that_is_lost_during_the_run_costs_nothing() {
    let mut relay = Relay::start();
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("t.js");
    std::fs::write(
        &script,
        "import { sleep } from 'k6'; export default () => sleep(0.05);",
    )
    .unwrap();
    let mut run = dchat(["run", "-u", "1", "-d", "4s", "--report-to", &relay.url()])
        .arg(&script)
        .within_dir(dir.path())
        .spawn();
    eventually("the run is registered and has points", || {
        let page = relay.get("/api/v1/runs").json();
        let id = page["runs"][0]["run_id"].as_str()?.to_owned();
        let series = relay
            .get(&format!("/api/v1/runs/{id}/series?metric=iterations"))
            .json();
        series["metrics"][0]["window"]["sum"].as_f64()
    });
    relay.kill();
    let code = run.ended_within(SOON);
    assert_eq!(code, 0, "{}", run.stderr());
    let written = std::fs::read_dir(dir.path())
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .any(|name| name.starts_with("dchat-run-") && name.ends_with(".ndjson"));
    assert!(written, "{}", run.stderr());
}

#[test]
fn orders_travel_back_with_the_next_samples_and_only_where_there_is_a_knob() {
    let relay = Relay::start();
    let run = SentRun::register(&relay, RUN_A, "ordered");
    let control = format!("/api/v1/runs/{RUN_A}/control");
    // Registered without a scenario that could follow them.
    for order in [json!({"vus": 5}), json!({"rate": 10})] {
        relay.post(&control, &order).refused(409, "CONFLICT");
    }
    let scenarios = json!({"run_id": RUN_B, "options": {"scenarios": {
        "a": {"executor": "ramping-vus"}, "b": {"executor": "shared-iterations"}}}});
    relay.post("/api/v1/runs", &scenarios).expect(200);
    let ramping = format!("/api/v1/runs/{RUN_B}/control");
    relay.post(&ramping, &json!({"vus": 5})).expect(200);
    relay
        .post(&ramping, &json!({"rate": 5}))
        .refused(409, "CONFLICT");
    relay.post(&control, &json!({"stop": true})).expect(200);
    for bad in [
        json!({}),
        json!({"stop": false}),
        json!({"vus": -1}),
        json!({"vus": 1.5}),
        json!({"rate": "fast"}),
        json!({"stop": true, "vus": 1}),
        json!({"pause": true}),
    ] {
        relay.post(&control, &bad).refused(400, "INVALID_RUN");
    }
    assert_eq!(
        run.send(&relay, 1, run.points())["control"],
        json!([{"stop": true}])
    );
    // The same batch again: its answer may have been lost.
    assert_eq!(
        run.send(&relay, 1, run.points())["control"],
        json!([{"stop": true}])
    );
    assert_eq!(run.send(&relay, 2, vec![])["control"], json!([]));
    run.finish(&relay, 103);
    relay
        .post(&control, &json!({"stop": true}))
        .refused(409, "CONFLICT");
    relay
        .post(
            "/api/v1/runs/0190a5b2-0000-7000-8000-00000000ffff/control",
            &json!({"stop": true}),
        )
        .refused(404, "RUN_NOT_FOUND");
}

#[test]
fn stored_run_breaks_its_requests_down() {
    let relay = Relay::start();
    Script::new(
        "import http from 'k6/http';\n\
         export const options = { iterations: 4 };\n\
         export default function () {\n\
           http.get(`${__ENV.RELAY}/items/${__ITER}`);\n\
           http.get(`${__ENV.RELAY}/health`);\n\
         }",
    )
    .args(["-e", &format!("RELAY={}", relay.url())])
    .args(["--report-to", &relay.url()])
    .run()
    .expect(0);
    let runs = Client::to(relay.addr()).get("/api/v1/runs").json();
    let run_id = runs["runs"][0]["run_id"].as_str().expect("an id");
    let run = Client::to(relay.addr()).get(&format!("/api/v1/runs/{run_id}"));
    let rows = run.json()["breakdown"].clone();
    let told: Vec<String> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}",
                row["scenario"], row["name"], row["status"], row["count"]
            )
        })
        .collect();
    let expected = [
        r#""default" "/health" "200" 4"#,
        r#""default" "/items/{id}" "404" 4"#,
    ];
    assert_eq!(told, expected);
}
