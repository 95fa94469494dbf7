//! `httpDebug`: requests and answers in the log as they go over the wire, bodies with `full` only.

use std::fmt::Write as _;

use crate::load::client::{Answer, Request, RoundTrip, wire_head};
use crate::load::js::host::Host;
use crate::load::options::HttpDebug;

/// Logs what is about to be sent; returns the id that the answer is logged with.
pub(super) fn request(host: &Host, request: &Request, level: HttpDebug) -> String {
    let mut id = uuid::Builder::from_random_bytes(random());
    let id = id.set_version(uuid::Version::Random).as_uuid().to_string();
    let mut text = wire_head(request).replace("\r\n", "\n");
    if level == HttpDebug::Full {
        text.push_str(&String::from_utf8_lossy(&request.body));
    }
    say(host, &id, &format!("Request:\n{text}\n"));
    id
}

pub(super) fn response(host: &Host, trip: &RoundTrip, level: HttpDebug, id: &str) {
    // Why there is none is logged with the failed request.
    if let Ok(answer) = &trip.outcome {
        let text = answer_text(answer, level);
        say(host, id, &format!("Response:\n{text}\n"));
    }
}

fn answer_text(answer: &Answer, level: HttpDebug) -> String {
    let mut text = format!("{} {} {}\n", answer.proto, answer.status, answer.reason);
    for (name, value) in &answer.headers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {value}", super::answer::canonical(name));
    }
    text.push('\n');
    if level == HttpDebug::Full {
        text.push_str(&String::from_utf8_lossy(&answer.body));
    }
    text
}

fn say(host: &Host, id: &str, text: &str) {
    let scenario = host.position.scenario.borrow();
    tracing::info!(
        group = %host.tagging.group(),
        iter = host.position.iteration.get(),
        request_id = id,
        scenario = scenario.as_ref().map_or("", |scenario| &*scenario.name),
        source = "http-debug",
        vu = host.vu,
        "{text}"
    );
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Without random bytes the ids repeat, which only the log's reader would notice.
    let _ = getrandom::fill(&mut bytes);
    bytes
}
