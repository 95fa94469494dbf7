//! The relay that a command talks to, and what to say when it is not there.

use std::time::Duration;

use anyhow::Context;
use url::Url;

use crate::http_client::{self, Client, Payload, Response};

/// Where the relay is.
#[derive(Debug, clap::Args)]
// The group's default name is the struct's, which each command's own arguments have too.
#[group(id = "target")]
pub struct Args {
    /// Address of the relay
    #[arg(
        long,
        env = "DCHAT_URL",
        default_value = "http://127.0.0.1:7071",
        value_name = "URL"
    )]
    pub url: Url,
}

/// A client that knows its relay.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) client: Client,
    base: Url,
}

/// Longest wait for one answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(30);

impl Args {
    pub(crate) fn open(self) -> Target {
        Target {
            client: Client::new(),
            base: self.url,
        }
    }
}

impl Target {
    /// The relay's address with `path` (and query) in place of its own.
    pub(crate) fn at(&self, path: &str) -> anyhow::Result<Url> {
        self.base
            .join(path)
            .with_context(|| format!("'{path}' cannot be added to {}", self.base))
    }

    /// GET, one attempt.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Response> {
        let url = self.at(path)?;
        let result = self
            .client
            .request(hyper::Method::GET, &url, None, ANSWER_MAX)
            .await;
        result.map_err(|error| self.explain(error))
    }

    /// POST of JSON, one attempt.
    pub(crate) async fn post(
        &self,
        path: &str,
        json: &serde_json::Value,
    ) -> Result<Response, http_client::Error> {
        let url = self
            .base
            .join(path)
            .map_err(|_| http_client::Error::Address {
                url: path.to_owned(),
            })?;
        let payload = Payload::json(json.to_string());
        self.client
            .request(hyper::Method::POST, &url, Some(payload), ANSWER_MAX)
            .await
    }

    /// Adds the way out to an error of the connection.
    pub(crate) fn explain(&self, error: http_client::Error) -> anyhow::Error {
        if error.is_connect() {
            anyhow::anyhow!(
                "{error}\nhint: start a relay with 'dchat relay', or name one with --url"
            )
        } else {
            error.into()
        }
    }
}

/// The relay's own error text, or the bare status where the answer is not the relay's.
pub(crate) fn refusal(response: &Response) -> anyhow::Error {
    let said: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
    let text = |key: &str| said.as_ref().and_then(|v| v.get(key)?.as_str());
    match (text("error"), text("message")) {
        (Some(code), Some(message)) => {
            anyhow::anyhow!("{} {code}: {message}", response.status.as_u16())
        }
        _ => anyhow::anyhow!(
            "the answer was {}, which no dchat relay gives here\nhint: is the address right?",
            response.status
        ),
    }
}
