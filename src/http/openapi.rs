//! `GET /openapi.json`: the contract as OpenAPI 3.1, made from the route table.
//!
//! The table gives paths, methods and bodies; what each route is for and which parameters it takes
//! stands here. The match over [`RouteId`] is exhaustive, so no row can stay undocumented.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::http::reply::{self, Response};
use crate::http::table::{BodyLimit, ROUTES, Route, RouteId};

pub(crate) fn answer() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let text = serde_json::to_vec(&document());
        text.expect("a document of literals has string keys").into()
    });
    reply::json_text(text.clone())
}

fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in ROUTES {
        let path = paths.entry(route.template).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dchat",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A durable message relay and its load lab. Times are integer milliseconds since the Unix epoch unless the name says otherwise.",
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn operation(route: &Route) -> Value {
    let Documented {
        summary,
        parameters,
        request,
        answer,
    } = documented(route.id);
    let mut all: Vec<Value> = Vec::new();
    if let Some((_, rest)) = route.template.split_once('{') {
        let name = rest.split('}').next().unwrap_or(rest);
        all.push(json!({
            "name": name, "in": "path", "required": true, "schema": {"type": "string"},
        }));
    }
    for (name, kind, description) in parameters {
        all.push(json!({
            "name": name, "in": "query", "description": description, "schema": {"type": kind},
        }));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.id),
        "summary": summary,
        "parameters": all,
        "responses": {
            "default": {
                "description": "refused: nothing was stored",
                "content": {"application/json": {"schema": schema("Error")}},
            },
        },
    });
    operation["responses"][answer.status] = match answer.content {
        Some((kind, schema)) => json!({
            "description": answer.description,
            "content": {kind: {"schema": schema}},
        }),
        None => json!({"description": answer.description}),
    };
    if route.body != BodyLimit::None {
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": request.unwrap_or_else(|| json!({"type": "object"}))}},
        });
    }
    operation
}

/// What the table does not say about a route.
struct Documented {
    summary: &'static str,
    parameters: &'static [(&'static str, &'static str, &'static str)],
    request: Option<Value>,
    answer: Answer,
}

struct Answer {
    status: &'static str,
    description: &'static str,
    content: Option<(&'static str, Value)>,
}

impl Answer {
    fn json(description: &'static str, schema: Value) -> Answer {
        Answer {
            status: "200",
            description,
            content: Some(("application/json", schema)),
        }
    }

    fn object(description: &'static str) -> Answer {
        Answer::json(description, json!({"type": "object"}))
    }

    fn of_type(kind: &'static str, description: &'static str) -> Answer {
        Answer {
            status: "200",
            description,
            content: Some((kind, json!({"type": "string"}))),
        }
    }

    fn empty(status: &'static str, description: &'static str) -> Answer {
        Answer {
            status,
            description,
            content: None,
        }
    }
}

fn schema(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

const FEED: (&str, &str, &str) = ("user", "string", "a mailbox; not together with channel");
const CHANNEL: (&str, &str, &str) = ("channel", "string", "a channel; not together with user");
const BOX: (&str, &str, &str) = ("box", "string", "with user: all, inbox or sent");
const AFTER: (&str, &str, &str) = ("after", "integer", "sequence to read forward from");

fn documented(id: RouteId) -> Documented {
    let plain = |summary, answer| Documented {
        summary,
        parameters: &[],
        request: None,
        answer,
    };
    let asked = |summary, parameters, answer| Documented {
        summary,
        parameters,
        request: None,
        answer,
    };
    let sent = |summary, request, answer| Documented {
        summary,
        parameters: &[],
        request: Some(request),
        answer,
    };
    match id {
        RouteId::PostMessage => sent(
            "Accept one message; 200 only after it is durable",
            schema("NewMessage"),
            Answer::json("durable", schema("Accepted")),
        ),
        RouteId::PostBatch => sent(
            "Accept 1 to 1,000 messages in one durable commit, all or nothing",
            json!({"type": "object", "required": ["messages"], "properties": {"messages": {"type": "array", "items": schema("NewMessage"), "minItems": 1, "maxItems": 1000}}}),
            Answer::json(
                "durable, in the order of the items",
                json!({"type": "object", "properties": {"results": {"type": "array", "items": schema("Accepted")}}}),
            ),
        ),
        RouteId::GetMessage => plain(
            "One message with its delivery status",
            Answer::json("the message", schema("Message")),
        ),
        RouteId::ListMessages => asked(
            "A page of a mailbox or channel, ascending by sequence",
            &[
                FEED,
                CHANNEL,
                AFTER,
                ("before", "integer", "sequence to read backward from"),
                ("limit", "integer", "1 to 1000, 100 by default"),
                BOX,
                ("status", "string", "queued: what still waits for user"),
                ("wait", "integer", "with after: hold up to 0 to 55 seconds"),
            ],
            Answer::json("the page", schema("Page")),
        ),
        RouteId::AckMessages => sent(
            "Mark messages addressed to a user as delivered",
            json!({"type": "object", "required": ["user"], "properties": {"user": {"type": "string"}, "ids": {"type": "array", "items": {"type": "string"}}, "up_to": {"type": "integer"}}}),
            Answer::json(
                "how many were not delivered before",
                json!({"type": "object", "properties": {"acknowledged": {"type": "integer"}}}),
            ),
        ),
        RouteId::DeleteMessage => plain("Delete a message", Answer::empty("204", "deleted")),
        RouteId::Stream => asked(
            "Server-sent events of a mailbox or channel; Last-Event-ID wins over after",
            &[FEED, CHANNEL, AFTER, BOX],
            Answer::of_type(
                "text/event-stream",
                "start cursor, stored messages, then live ones",
            ),
        ),
        RouteId::Socket => plain(
            "WebSocket: subscribe, unsubscribe, message, ack, ping",
            Answer::empty("101", "switching protocols"),
        ),
        RouteId::RegisterRun => plain("Register a load-test run", Answer::object("registered")),
        RouteId::PushSamples => plain(
            "Add one batch of a run's samples; repeats are stored once",
            Answer::object("stored"),
        ),
        RouteId::FinishRun => plain("End a run with its summary", Answer::object("ended")),
        RouteId::ControlRun => sent(
            "Change a run that goes on: one of stop, vus, rate; 409 where it has no such knob",
            json!({"type": "object", "properties": {"stop": {"type": "boolean"}, "vus": {"type": "integer"}, "rate": {"type": "number"}}}),
            Answer::object("the order, which the run takes along with its next samples"),
        ),
        RouteId::RunReport => plain(
            "One run as a page that needs no server",
            Answer::of_type("text/html", "the report"),
        ),
        RouteId::ImportRun => plain("Import runs, one call a line", Answer::object("imported")),
        RouteId::ListRuns => asked(
            "Runs, newest first",
            &[
                ("limit", "integer", "runs of one page"),
                ("before", "string", "the next_before of a page"),
                ("q", "string", "part of name, script, target or id"),
                ("tag", "string", "name or name=value"),
            ],
            Answer::object("the page"),
        ),
        RouteId::GetRun => plain("One run whole", Answer::object("the run")),
        RouteId::RunSeries => asked(
            "Time series of a run",
            &[
                (
                    "metric",
                    "string",
                    "names, separated by commas; missing: all",
                ),
                ("tags", "string", "name:value,name:value or a JSON object"),
                ("from", "integer", "unix milliseconds"),
                ("to", "integer", "unix milliseconds"),
                ("step", "integer", "seconds"),
            ],
            Answer::object("the series"),
        ),
        RouteId::RunEvents => plain(
            "Server-sent events while a run goes on",
            Answer::of_type("text/event-stream", "run, points, deleted"),
        ),
        RouteId::DeleteRun => plain("Delete a run", Answer::empty("204", "deleted")),
        RouteId::Health => plain("Whether the relay lives", Answer::object("it does")),
        RouteId::Ready => plain("Whether the relay serves", Answer::object("it does")),
        RouteId::Status => plain(
            "Counts, rates, sizes and every limit in force",
            Answer::object("the status"),
        ),
        RouteId::Metrics => plain(
            "Metrics for Prometheus; OpenMetrics by Accept",
            Answer::of_type("text/plain", "the metrics"),
        ),
        RouteId::OpenApi => plain("This document", Answer::object("OpenAPI 3.1")),
        RouteId::Page | RouteId::PageByName => plain(
            "The results viewer",
            Answer::of_type("text/html", "the page"),
        ),
        RouteId::Asset => plain("A file of the viewer", Answer::empty("200", "the file")),
    }
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let integer = json!({"type": "integer"});
    let maybe_text = json!({"type": ["string", "null"]});
    let maybe_integer = json!({"type": ["integer", "null"]});
    let status = json!({"type": "string", "enum": ["queued", "delivered", "expired", "deleted"]});
    json!({
        "NewMessage": {
            "type": "object",
            "required": ["sender", "content"],
            "description": "At most one of recipient and channel. Up to 16 fields of your own are kept and given back.",
            "properties": {
                "id": maybe_text, "sender": text, "recipient": maybe_text, "channel": maybe_text,
                "content": text, "timestamp": maybe_integer, "ttl_seconds": maybe_integer,
            },
        },
        "Accepted": {
            "type": "object",
            "properties": {
                "message_id": text, "status": status, "sequence": integer,
                "received_at": integer, "duplicate": {"type": "boolean"},
            },
        },
        "Message": {
            "type": "object",
            "properties": {
                "message_id": text, "id": text, "sequence": integer, "sender": text,
                "recipient": maybe_text, "channel": maybe_text, "content": text,
                "timestamp": maybe_integer, "received_at": integer, "expires_at": maybe_integer,
                "status": status, "delivered_at": maybe_integer,
            },
        },
        "Page": {
            "type": "object",
            "properties": {
                "messages": {"type": "array", "items": schema("Message")},
                "next_after": integer, "next_before": integer, "has_more": {"type": "boolean"},
            },
        },
        "Error": {
            "type": "object",
            "required": ["error", "message", "code", "request_id"],
            "properties": {
                "error": text, "message": text, "code": integer, "field": text,
                "request_id": text,
            },
        },
    })
}
