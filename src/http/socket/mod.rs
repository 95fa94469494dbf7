//! `GET /api/v1/ws`: the upgrade. The session itself is in `session`, its frames in `frame`.

mod frame;
mod session;

use hyper::StatusCode;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::Response;
use crate::http::service::Upgrade;
use session::Session;

/// Ten thousand idle sockets are to fit into 150 MB, so buffers begin small.
const BUFFER_BYTES: usize = 4 * 1024;

/// Answers 101 and leaves the connection to a session of its own.
pub(crate) fn open(app: &App, call: &Call, upgrade: Option<Upgrade>) -> Result<Response, ApiError> {
    let key = handshake_key(call)?;
    let upgrade = upgrade.and_then(|upgrade| upgrade.take());
    let (upgrade, connection) =
        upgrade.ok_or_else(|| not_a_handshake("the connection cannot be upgraded"))?;
    let subscriber = app.subscriber()?;
    let session_app = app.clone();
    let request_id = call.request_id();
    app.tasks.spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            return;
        };
        let config = config(&session_app);
        let stream = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Session::new(session_app, socket, request_id).run().await;
        drop((subscriber, connection));
    });
    let mut response = Response::new(Vec::new().into());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.expect("base64 is header text"));
    Ok(response)
}

fn config(app: &App) -> WebSocketConfig {
    let limits = &app.limits;
    WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(
            limits
                .socket_pending_bytes_max
                .max(2 * limits.body_bytes_max),
        )
        .max_message_size(Some(limits.body_bytes_max))
        .max_frame_size(Some(limits.body_bytes_max))
}

/// RFC 6455 section 4.2.1.
fn handshake_key(call: &Call) -> Result<String, ApiError> {
    let has = |name, wanted: &str| {
        let value = call.header(name).unwrap_or("");
        value
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    if !has(CONNECTION, "upgrade") || !has(UPGRADE, "websocket") {
        return Err(not_a_handshake(
            "this route is a WebSocket; send an upgrade request",
        ));
    }
    if call.header(SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(not_a_handshake(
            "only version 13 of the WebSocket protocol is spoken",
        ));
    }
    let key = call.header(SEC_WEBSOCKET_KEY).map(str::to_owned);
    key.ok_or_else(|| not_a_handshake("Sec-WebSocket-Key is missing"))
}

fn not_a_handshake(reason: &'static str) -> ApiError {
    ApiError::invalid_query("Upgrade", reason)
}
