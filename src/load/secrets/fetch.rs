//! Secrets over HTTP: an address with `{key}` in it, asked for each secret once.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::Url;

use super::{Error, lock};
use crate::http_client::Client;
use crate::load::options::duration;

/// Largest answer that may be a secret.
const SECRET_BYTES_MAX: usize = 24 * 1024;
/// Prefix of the variables that configure the source.
const VARIABLE: &str = "K6_SECRET_SOURCE_URL_";

/// Where and how to ask; the defaults are k6's.
pub(super) struct Address {
    template: String,
    method: String,
    headers: Vec<(String, String)>,
    /// Keys with dots between them; empty: the whole answer is the secret.
    path: String,
    timeout: Duration,
    requests_per_minute: u32,
    burst: u32,
    retries_max: u32,
    backoff: Duration,
    /// When the next request may go out, minus what may go out at once.
    next: Mutex<Option<Instant>>,
}

impl Address {
    pub(super) fn read(
        config: &str,
        variables: &HashMap<String, String>,
    ) -> Result<Address, Error> {
        let mut address = Address {
            template: String::new(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            path: String::new(),
            timeout: Duration::from_secs(30),
            requests_per_minute: 300,
            burst: 10,
            retries_max: 3,
            backoff: Duration::from_secs(1),
            next: Mutex::new(None),
        };
        for (name, value) in variables {
            let Some(name) = name.strip_prefix(VARIABLE).filter(|_| !value.is_empty()) else {
                continue;
            };
            match name.strip_prefix("HEADER_") {
                Some(header) => address.header(header, value),
                None => address.set(&camel(name), value)?,
            }
        }
        let given: Vec<(&str, &str)> = match config {
            "" => Vec::new(),
            _ => config.split(',').map(pair).collect::<Result<_, _>>()?,
        };
        // What stands in the line counts more than what stands in its file.
        for (_, path) in given.iter().filter(|(key, _)| *key == "config") {
            address.read_file(path)?;
        }
        for (key, value) in given.into_iter().filter(|(key, _)| *key != "config") {
            match key.strip_prefix("headers.") {
                Some(header) => address.header(header, value),
                None => address.set(key, value)?,
            }
        }
        address.checked()
    }

    fn read_file(&mut self, path: &str) -> Result<(), Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| invalid(format!("failed to open config file: {error}")))?;
        let object: serde_json::Map<String, Value> = serde_json::from_str(&text)
            .map_err(|error| invalid(format!("failed to parse JSON config: {error}")))?;
        for (key, value) in &object {
            match value {
                Value::Object(headers) if key == "headers" => {
                    for (name, value) in headers {
                        self.header(name, value.as_str().unwrap_or_default());
                    }
                }
                Value::String(text) => self.set(key, text)?,
                other => self.set(key, &other.to_string())?,
            }
        }
        Ok(())
    }

    fn header(&mut self, name: &str, value: &str) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        let bad = || invalid(format!("invalid {key}: {value:?}"));
        let number = || value.parse::<u32>().map_err(|_| bad());
        let time = || duration::parse(value).ok_or_else(bad);
        match key {
            "urlTemplate" => value.clone_into(&mut self.template),
            "method" => value.clone_into(&mut self.method),
            "responsePath" => value.clone_into(&mut self.path),
            "timeout" => self.timeout = time()?,
            "retryBackoff" => self.backoff = time()?,
            "requestsPerMinuteLimit" => self.requests_per_minute = number()?,
            "requestsBurst" => self.burst = number()?,
            "maxRetries" => self.retries_max = number()?,
            _ => return Err(invalid(format!("unknown configuration key: {key:?}"))),
        }
        Ok(())
    }

    fn checked(self) -> Result<Address, Error> {
        let wrong = if self.template.is_empty() {
            "urlTemplate is required"
        } else if !self.template.contains("{key}") {
            "urlTemplate must contain {key} placeholder"
        } else if Url::parse(&self.template.replace("{key}", "test")).is_err() {
            "urlTemplate must be an absolute URL with a scheme (e.g., https://...)"
        } else if self.timeout.is_zero() {
            "timeout must be greater than 0"
        } else if self.requests_per_minute == 0 {
            "requestsPerMinuteLimit must be greater than 0"
        } else if self.burst == 0 {
            "requestsBurst must be greater than 0"
        } else if self.backoff.is_zero() {
            "retryBackoff must be greater than 0"
        } else {
            return Ok(self);
        };
        Err(invalid(wrong.to_owned()))
    }

    /// Blocks; asks again where that may help.
    pub(super) fn get(&self, name: &str) -> Result<String, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::Fetch(error.to_string()))?;
        runtime.block_on(self.ask(name))
    }

    async fn ask(&self, name: &str) -> Result<String, Error> {
        tokio::time::sleep_until(self.turn().into()).await;
        let mut attempt = 0;
        loop {
            let (error, again) = match self.ask_once(name).await {
                Ok(secret) => return Ok(secret),
                Err(failed) => failed,
            };
            if !again || attempt == self.retries_max {
                return Err(error);
            }
            attempt += 1;
            let exponent = i32::try_from(attempt).unwrap_or(i32::MAX);
            let seconds = self.backoff.as_secs_f64().powi(exponent).min(3_600.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    }

    /// When this request may go out; so many at once, then one every so often.
    fn turn(&self) -> Instant {
        let gap = Duration::from_secs(60) / self.requests_per_minute;
        let mut next = lock(&self.next);
        let now = Instant::now();
        let earliest = now.checked_sub(gap * (self.burst - 1)).unwrap_or(now);
        let mine = next.map_or(earliest, |next| next.max(earliest));
        *next = Some(mine + gap);
        mine.max(now)
    }

    /// The error says whether it is worth another try.
    async fn ask_once(&self, name: &str) -> Result<String, (Error, bool)> {
        let final_ = |text: String| (Error::Fetch(text), false);
        let address = self.template.replace("{key}", name);
        let url = Url::parse(&address).map_err(|error| final_(error.to_string()))?;
        let method = hyper::Method::from_bytes(self.method.as_bytes());
        let method = method.map_err(|error| final_(error.to_string()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let client = Client::with(headers, None);
        let answer = client.request(method, &url, None, self.timeout).await;
        let answer = answer.map_err(|error| {
            let text = format!("failed to get secret: {error}");
            (Error::Fetch(text), true)
        })?;
        let status = answer.status.as_u16();
        if status != 200 {
            let text = format!("status code {status}: failed to get secret");
            return Err((Error::Fetch(text), status >= 500 || status == 429));
        }
        let extracted = self.extract(&answer.body);
        extracted.map_err(|text| final_(format!("failed to extract secret: {text}")))
    }

    fn extract(&self, body: &[u8]) -> Result<String, String> {
        if body.len() > SECRET_BYTES_MAX {
            let max = SECRET_BYTES_MAX;
            return Err(format!(
                "secret response exceeds maximum size of {max} bytes"
            ));
        }
        if self.path.is_empty() {
            return Ok(String::from_utf8_lossy(body).into_owned());
        }
        let missing = || format!("path {:?} not found in response", self.path);
        let whole: Value = serde_json::from_slice(body).map_err(|_| missing())?;
        let mut found = &whole;
        for key in self.path.split('.') {
            let inner = match found {
                Value::Array(items) => key.parse().ok().and_then(|at: usize| items.get(at)),
                other => other.get(key),
            };
            found = inner.ok_or_else(missing)?;
        }
        match found {
            Value::String(secret) => Ok(secret.clone()),
            _ => Err(format!(
                "secret value at path {:?} is not a string",
                self.path
            )),
        }
    }
}

fn pair(part: &str) -> Result<(&str, &str), Error> {
    part.split_once('=').ok_or_else(|| {
        invalid(format!(
            "invalid config format {part:?}, expected key=value"
        ))
    })
}

fn invalid(text: String) -> Error {
    Error::Config(text)
}

/// `URL_TEMPLATE` as `urlTemplate`.
fn camel(name: &str) -> String {
    let mut out = String::new();
    for (at, word) in name.split('_').enumerate() {
        let word = word.to_ascii_lowercase();
        let (first, rest) = word.split_at(word.len().min(1));
        out.push_str(&if at == 0 {
            first.to_owned()
        } else {
            first.to_ascii_uppercase()
        });
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(config: &str) -> Result<Address, Error> {
        let names = [
            ("K6_SECRET_SOURCE_URL_RESPONSE_PATH", "a.0.b"),
            ("K6_SECRET_SOURCE_URL_HEADER_X-Key", "one"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Address::read(config, &HashMap::from(names.map(own)))
    }

    #[test]
    fn line_counts_more_than_variables() {
        let read = address("urlTemplate=http://h/{key},headers.x-key=two,timeout=5s,maxRetries=0");
        let read = read.expect("valid");
        assert_eq!(read.path, "a.0.b");
        assert_eq!(read.headers, [("x-key".to_owned(), "two".to_owned())]);
        assert_eq!(
            (read.timeout, read.retries_max),
            (Duration::from_secs(5), 0)
        );
        assert_eq!(read.extract(br#"{"a":[{"b":"s"}]}"#).as_deref(), Ok("s"));
        assert!(read.extract(br#"{"a":[{"b":1}]}"#).is_err());
    }

    #[test]
    fn wrong_addresses_are_refused() {
        let refused = |config: &str| address(config).map(|_| ()).expect_err("wrong").to_string();
        assert!(refused("").contains("urlTemplate is required"));
        assert!(refused("urlTemplate=http://h/").contains("{key}"));
        assert!(refused("urlTemplate={key}").contains("absolute URL"));
        assert!(refused("urlTemplate=http://h/{key},x=1").contains("unknown configuration key"));
        assert!(refused("urlTemplate=http://h/{key},timeout=x").contains("invalid timeout"));
    }

    #[test]
    fn requests_beyond_the_burst_wait() {
        let config = "urlTemplate=http://h/{key},requestsPerMinuteLimit=60,requestsBurst=2";
        let address = address(config).expect("valid");
        let begun = Instant::now();
        assert!(address.turn() <= Instant::now());
        assert!(address.turn() <= Instant::now());
        assert!(address.turn() >= begun + Duration::from_millis(900));
    }
}
