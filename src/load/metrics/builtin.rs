//! k6's built-in metrics at fixed ids. Names and types as k6's documentation lists them.

use super::{MetricId, MetricKind, ValueKind};

macro_rules! builtin {
    ($($constant:ident = $index:literal, $name:literal, $kind:ident, $contains:ident;)+) => {
        $(pub const $constant: MetricId = MetricId($index);)+
        /// Every built-in metric, its place being its id.
        pub const ALL: &[(&str, MetricKind, ValueKind)] = &[
            $(($name, MetricKind::$kind, ValueKind::$contains),)+
        ];
    };
}

builtin! {
    VUS = 0, "vus", Gauge, Default;
    VUS_MAX = 1, "vus_max", Gauge, Default;
    ITERATIONS = 2, "iterations", Counter, Default;
    ITERATION_DURATION = 3, "iteration_duration", Trend, Time;
    DROPPED_ITERATIONS = 4, "dropped_iterations", Counter, Default;
    CHECKS = 5, "checks", Rate, Default;
    GROUP_DURATION = 6, "group_duration", Trend, Time;
    DATA_SENT = 7, "data_sent", Counter, Data;
    DATA_RECEIVED = 8, "data_received", Counter, Data;
    HTTP_REQS = 9, "http_reqs", Counter, Default;
    HTTP_REQ_DURATION = 10, "http_req_duration", Trend, Time;
    HTTP_REQ_BLOCKED = 11, "http_req_blocked", Trend, Time;
    HTTP_REQ_CONNECTING = 12, "http_req_connecting", Trend, Time;
    HTTP_REQ_TLS_HANDSHAKING = 13, "http_req_tls_handshaking", Trend, Time;
    HTTP_REQ_SENDING = 14, "http_req_sending", Trend, Time;
    HTTP_REQ_WAITING = 15, "http_req_waiting", Trend, Time;
    HTTP_REQ_RECEIVING = 16, "http_req_receiving", Trend, Time;
    HTTP_REQ_FAILED = 17, "http_req_failed", Rate, Default;
    // Not k6's: from the instant at which an arrival rate wanted the iteration to start.
    ITERATION_DURATION_FROM_SCHEDULE = 18, "iteration_duration_from_schedule", Trend, Time;
    HTTP_REQ_DURATION_FROM_SCHEDULE = 19, "http_req_duration_from_schedule", Trend, Time;
    WS_SESSIONS = 20, "ws_sessions", Counter, Default;
    WS_CONNECTING = 21, "ws_connecting", Trend, Time;
    WS_SESSION_DURATION = 22, "ws_session_duration", Trend, Time;
    WS_MSGS_SENT = 23, "ws_msgs_sent", Counter, Default;
    WS_MSGS_RECEIVED = 24, "ws_msgs_received", Counter, Default;
    WS_PING = 25, "ws_ping", Trend, Time;
    GRPC_REQ_DURATION = 26, "grpc_req_duration", Trend, Time;
    GRPC_STREAMS = 27, "grpc_streams", Counter, Default;
    GRPC_STREAMS_MSGS_SENT = 28, "grpc_streams_msgs_sent", Counter, Default;
    GRPC_STREAMS_MSGS_RECEIVED = 29, "grpc_streams_msgs_received", Counter, Default;
    WS_ROUND_TRIP = 30, "ws_round_trip", Trend, Time;
    SSE_ROUND_TRIP = 31, "sse_round_trip", Trend, Time;
}
