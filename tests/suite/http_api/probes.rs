//! Health, readiness, status, metrics, the contract's own document.

use std::collections::BTreeSet;

use crate::support::*;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

#[test]
fn health_says_who_and_how_long() {
    let relay = Relay::start();
    let health = relay.get("/health").expect(200).json();
    assert_eq!(health["service"], "dchat");
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        health["uptime_seconds"].is_number() && health["timestamp"].is_i64(),
        "{health}"
    );
}

#[test]
fn ready_relay_answers_200() {
    Relay::start().get("/ready").expect(200);
}

#[test]
fn second_relay_on_one_directory_is_refused_clearly() {
    let relay = Relay::start();
    let mut second = Relay::setup().in_dir(relay.dir()).spawn();
    assert_eq!(second.ended_within(SOON), 3);
    let stderr = second.stderr();
    assert!(stderr.contains(relay.dir().to_str().unwrap()), "{stderr}");
    relay.get("/ready").expect(200);
}

#[test]
fn status_counts_what_was_accepted_and_refused() {
    let relay = Relay::start();
    relay.accept_from("a", "b", "x");
    relay.accept_from("a", "b", "y");
    relay
        .post("/api/v1/messages", &json!({}))
        .refused(400, "INVALID_MESSAGE");
    let status = relay.status();
    for key in [
        "version",
        "uptime_seconds",
        "role",
        "addresses",
        "epoch",
        "limits",
    ] {
        assert!(
            status.get(key).is_some_and(|value| !value.is_null()),
            "{key} in {status}"
        );
    }
    let messages = &status["messages"];
    assert_eq!(messages["stored"], 2, "{status}");
    assert_eq!(messages["queued"], 2, "{status}");
    assert_eq!(messages["accepted"], 2, "{status}");
    assert!(messages["refused"].is_object(), "by reason: {status}");
}

#[test]
fn status_shows_every_limit_in_force() {
    let relay = Relay::setup().limit("content_bytes_max", "1234B").start();
    let limits = relay.status()["limits"].clone();
    assert_eq!(limits["content_bytes_max"], 1234, "{limits}");
    for name in [
        "queue_jobs_max",
        "connections_max",
        "wal_bytes_max",
        "free_disk_floor_bytes",
    ] {
        assert!(limits[name].is_number(), "{name} in {limits}");
    }
}

#[test]
fn metrics_are_prometheus_text_and_openmetrics_on_request() {
    let relay = Relay::start();
    relay.accept_from("a", "b", "x");
    let classic = relay.get("/metrics").expect(200);
    let kind = classic
        .header("content-type")
        .unwrap_or_default()
        .to_owned();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let text = classic.text();
    assert!(
        text.contains("# HELP dchat_") && text.contains("# TYPE dchat_"),
        "{text}"
    );
    assert!(!text.contains("# EOF"), "{text}");
    let open = relay
        .request("GET", "/metrics")
        .header("Accept", "application/openmetrics-text; version=1.0.0")
        .send()
        .expect(200);
    let kind = open.header("content-type").unwrap_or_default().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.text().ends_with("# EOF\n"));
}

#[test]
fn metric_labels_hold_no_user_or_channel() {
    let relay = Relay::start();
    relay.accept(json!({"sender": "zelda-secret", "channel": "hidden-room", "content": "x"}));
    relay.page("user=zelda-secret");
    let text = relay.get("/metrics").expect(200).text();
    assert!(
        !text.contains("zelda-secret") && !text.contains("hidden-room"),
        "{text}"
    );
}

#[test]
fn head_is_get_without_the_body() {
    let relay = Relay::start();
    relay.accept(json!({"id": "m", "sender": "a", "content": "x"}));
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/api/v1/messages/m",
        "/openapi.json",
        "/",
    ] {
        let get = relay.get(path);
        let head = relay.request("HEAD", path).send();
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        assert_eq!(head.body, b"", "{path}");
    }
    let mut client = relay.client();
    client
        .request("HEAD", "/api/v1/messages/m")
        .send()
        .expect(200);
    assert_eq!(
        client.get("/api/v1/messages/m").expect(200).json()["id"],
        "m"
    );
    client
        .request("HEAD", "/api/v1/messages/none")
        .send()
        .expect(404);
}

#[test]
fn openapi_document_names_every_route_of_the_contract() {
    let relay = Relay::start();
    let document = relay.get("/openapi.json").expect(200).json();
    let version = document["openapi"].as_str().unwrap_or_default();
    assert!(version.starts_with("3.1"), "{version}");
    for (path, method) in [
        ("/api/v1/messages", "post"),
        ("/api/v1/messages", "get"),
        ("/api/v1/messages/batch", "post"),
        ("/api/v1/messages/ack", "post"),
        ("/api/v1/messages/{id}", "get"),
        ("/api/v1/messages/{id}", "delete"),
        ("/api/v1/stream", "get"),
        ("/api/v1/ws", "get"),
        ("/health", "get"),
        ("/ready", "get"),
        ("/api/v1/status", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/api/v1/runs", "post"),
        ("/api/v1/runs", "get"),
        ("/api/v1/runs/{id}", "get"),
        ("/api/v1/runs/{id}", "delete"),
        ("/api/v1/runs/{id}/samples", "post"),
        ("/api/v1/runs/{id}/finish", "post"),
        ("/api/v1/runs/{id}/series", "get"),
        ("/api/v1/runs/{id}/events", "get"),
        ("/api/v1/runs/import", "post"),
    ] {
        assert!(
            document["paths"][path][method].is_object(),
            "{method} {path} is missing"
        );
    }
}

#[test]
fn documented_routes_exist_and_no_others_do() {
    let relay = Relay::start();
    let document = relay.get("/openapi.json").expect(200).json();
    for (template, operations) in document["paths"].as_object().unwrap() {
        let path = template.replace("{id}", "x").replace("{path}", "x");
        if path.contains('{') {
            continue;
        }
        let documented: BTreeSet<&str> = METHODS
            .into_iter()
            .filter(|method| operations.get(method).is_some())
            .collect();
        assert!(!documented.is_empty(), "{template} has no method");
        for method in METHODS {
            // Live streams answer 200 and never end.
            if method == "get" && (path.ends_with("/events") || path.ends_with("/stream")) {
                continue;
            }
            let answer = relay
                .request(&method.to_uppercase(), &path)
                .untyped(b"")
                .send();
            let what = format!("{method} {template}: {} {}", answer.status, answer.text());
            if documented.contains(method) {
                assert_ne!(answer.status, 405, "{what}");
                assert!(!answer.text().contains("\"NOT_FOUND\""), "{what}");
            } else if !matches_another(&document, template, &path, method) {
                assert_eq!(answer.status, 405, "{what}");
            }
        }
    }
}

/// Whether a template with a parameter takes the path, as `/messages/{id}` takes `/messages/ack`.
fn matches_another(document: &Value, own: &str, path: &str, method: &str) -> bool {
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .any(|(template, operations)| {
            let Some((before, after)) = template.split_once("{id}") else {
                return false;
            };
            let inner = path
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after));
            let fits = inner.is_some_and(|inner| !inner.is_empty() && !inner.contains('/'));
            template != own && fits && operations.get(method).is_some()
        })
}
