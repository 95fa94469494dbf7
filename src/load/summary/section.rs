//! Which section of the summary a metric stands in, by k6's rules for names.

use super::text::Detail;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    Custom,
    Http,
    Execution,
    Network,
    Grpc,
    WebSocket,
}

impl Section {
    /// In the order of the summary.
    pub(super) const ALL: [Section; 6] = [
        Section::Custom,
        Section::Http,
        Section::Execution,
        Section::Network,
        Section::Grpc,
        Section::WebSocket,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Section::Custom => "CUSTOM",
            Section::Http => "HTTP",
            Section::Execution => "EXECUTION",
            Section::Network => "NETWORK",
            Section::Grpc => "GRPC",
            Section::WebSocket => "WEBSOCKET",
        }
    }

    /// The section of a metric or submetric; `None` for what the summary leaves out.
    pub(super) fn of(name: &str, detail: Detail) -> Option<Section> {
        let begins = |names: &[&str]| names.iter().any(|known| name.starts_with(known));
        let phases = [
            "http_req_blocked",
            "http_req_connecting",
            "http_req_receiving",
            "http_req_sending",
            "http_req_tls_handshaking",
            "http_req_waiting",
        ];
        let http = ["http_reqs", "http_req_failed", "http_req_duration"];
        let execution = [
            "vus",
            "iterations",
            "iteration_duration",
            "dropped_iterations",
        ];
        if begins(&["checks", "group_duration"]) {
            None
        } else if begins(&phases) {
            (detail == Detail::Full).then_some(Section::Http)
        } else if begins(&http) {
            Some(Section::Http)
        } else if begins(&execution) {
            Some(Section::Execution)
        } else if begins(&["data_sent", "data_received"]) {
            Some(Section::Network)
        } else if begins(&["grpc_"]) {
            Some(Section::Grpc)
        } else if begins(&["ws_"]) {
            Some(Section::WebSocket)
        } else {
            Some(Section::Custom)
        }
    }
}
