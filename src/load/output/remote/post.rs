//! Sends one request with a body over HTTP or gRPC, and judges the answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use tokio_rustls::rustls::ClientConfig;
use url::Url;

use super::grpc;
use super::sigv4::{self, Signer};
use crate::http_client::{self, Client, Payload};
use crate::load::output::json::time::rfc3339;

/// Longest wait for one answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// How much of a refusal's text is told.
const REASON_CHARS_MAX: usize = 200;

/// One body to send.
#[derive(Clone, Debug, Default)]
pub(super) struct Parcel {
    pub(super) body: Bytes,
    /// Samples that are lost if it does not arrive; 0 where a later parcel says the same.
    pub(super) samples: u64,
}

/// Where parcels go, and how.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) content_type: &'static str,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) protocol: Protocol,
    /// Signs requests for AWS.
    pub(super) signer: Option<Signer>,
    client: Arc<Client>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Http(#[from] http_client::Error),
    #[error(transparent)]
    Grpc(#[from] grpc::Error),
    #[error("{url} answered {status}: {reason}")]
    Status {
        url: String,
        status: u16,
        reason: String,
    },
    #[error("{url} did not answer within {} s", ANSWER_WAIT.as_secs())]
    Timeout { url: String },
}

impl Door {
    pub(super) fn new(
        url: Url,
        headers: HeaderMap,
        content_type: &'static str,
        tls: Option<Arc<ClientConfig>>,
        protocol: Protocol,
    ) -> Door {
        Door {
            client: Arc::new(Client::with(headers.clone(), tls.clone())),
            url,
            headers,
            content_type,
            tls,
            protocol,
            signer: None,
        }
    }

    /// Sends one parcel.
    ///
    /// # Errors
    /// No connection, no answer in time, or a refusal.
    pub(super) async fn send(&self, parcel: Parcel) -> Result<(), SendError> {
        match self.protocol {
            Protocol::Http => self.post(parcel.body).await,
            Protocol::Grpc => {
                let call = grpc::call(&self.url, &self.headers, self.tls.as_ref(), parcel.body);
                let done = tokio::time::timeout(ANSWER_WAIT, call).await;
                done.map_err(|_| SendError::Timeout { url: self.shown() })??;
                Ok(())
            }
        }
    }

    async fn post(&self, bytes: Bytes) -> Result<(), SendError> {
        let mut own = HeaderMap::new();
        if let Some(signer) = &self.signer {
            let time = sigv4::compact_time(&rfc3339(SystemTime::now()));
            let value = signer.authorization("POST", &self.url, &bytes, &time);
            add_header(&mut own, "x-amz-date", &time);
            add_header(&mut own, "authorization", &value);
        }
        let payload = Payload {
            bytes,
            content_type: self.content_type,
        };
        let answer = self
            .client
            .request_with(own, Method::POST, &self.url, Some(payload), ANSWER_WAIT)
            .await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let reason = String::from_utf8_lossy(&answer.body);
        Err(SendError::Status {
            url: self.shown(),
            status: answer.status.as_u16(),
            reason: reason.trim().chars().take(REASON_CHARS_MAX).collect(),
        })
    }

    /// The address without credentials and query, which may hold some.
    fn shown(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.to_string()
    }
}

/// Adds a header whose value never shows in logs; `None` for one that HTTP does not allow.
pub(super) fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Some(())
}

/// The value of `Authorization` for a user and a password.
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
