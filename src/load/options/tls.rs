//! `tlsVersion`, `tlsCipherSuites` and `tlsAuth`, as k6 spells them.
//!
//! Only names and texts: whether the TLS library can do it is for the client to say.

use serde_json::{Value, json};

use super::reader::Fields;

/// TLS versions by name, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

const VERSIONS: [(&str, TlsVersion); 4] = [
    ("tls1.0", TlsVersion::Tls10),
    ("tls1.1", TlsVersion::Tls11),
    ("tls1.2", TlsVersion::Tls12),
    ("tls1.3", TlsVersion::Tls13),
];

/// Bounds, both included; `None` is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsVersions {
    pub min: Option<TlsVersion>,
    pub max: Option<TlsVersion>,
}

/// A cipher suite by its IANA name (the CHACHA20 ones of TLS 1.2 without their `_SHA256`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CipherSuite {
    pub name: &'static str,
}

/// A client certificate and where it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsAuth {
    /// Host names, also `*.example.com`; empty: everywhere.
    pub domains: Vec<String>,
    /// PEM.
    pub cert: String,
    /// PEM.
    pub key: String,
    /// Of an encrypted key.
    pub password: Option<String>,
}

/// Keys don't belong into logs.
impl std::fmt::Debug for TlsAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAuth")
            .field("domains", &self.domains)
            .finish_non_exhaustive()
    }
}

/// Names that k6 knows.
const SUITES: [&str; 25] = [
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

impl TlsVersions {
    pub(super) fn to_json(self) -> Value {
        let name = |version: Option<TlsVersion>| {
            let known = VERSIONS.iter().find(|(_, v)| Some(*v) == version);
            known.map_or("", |(name, _)| name)
        };
        json!({ "min": name(self.min), "max": name(self.max) })
    }
}

impl Fields<'_> {
    /// `tls1.2`, or `{min, max}`.
    pub(super) fn tls_versions(&mut self, key: &str) -> Option<TlsVersions> {
        let value = self.value(key)?;
        let read = match value {
            Value::String(text) => version(text).map(|one| TlsVersions { min: one, max: one }),
            Value::Object(object) => {
                let bound = |name: &str| match object.get(name) {
                    None | Some(Value::Null) => Some(None),
                    Some(value) => version(value.as_str()?),
                };
                let known = object.keys().all(|key| key == "min" || key == "max");
                match (bound("min"), bound("max")) {
                    (Some(min), Some(max)) if known => Some(TlsVersions { min, max }),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(TlsVersions {
            min: Some(min),
            max: Some(max),
        }) = read
            && min > max
        {
            self.problem(&format!("option '{key}': 'min' is over 'max'"));
        }
        let rule = "tls1.0, tls1.1, tls1.2 or tls1.3, or {min, max} of these";
        self.or_wrong(key, value, rule, read)
    }

    pub(super) fn cipher_suites(&mut self, key: &str) -> Option<Vec<CipherSuite>> {
        let names = self.list(key, "a list of names of cipher suites")?;
        let mut suites = Vec::new();
        for text in names {
            match SUITES.iter().find(|name| **name == text) {
                Some(name) => suites.push(CipherSuite { name }),
                None => self.problem(&format!("option '{key}': unknown cipher suite '{text}'")),
            }
        }
        Some(suites)
    }

    pub(super) fn tls_auth(&mut self, key: &str) -> Option<Vec<TlsAuth>> {
        let value = self.value(key)?;
        let Some(list) = value.as_array() else {
            return self.or_wrong(key, value, "a list of {cert, key, domains}", None);
        };
        let mut certificates = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let Some(object) = entry.as_object() else {
                self.problem(&format!("option '{key}': entry {index} is no object"));
                continue;
            };
            let place = format!("option '{key}', entry {index}: ");
            let mut fields = self.inner(object, place);
            let domains = fields.list("domains", "a list of host names");
            let password = fields.text("password");
            let (cert, key) = (fields.pem("cert"), fields.pem("key"));
            for unknown in fields.unread() {
                fields.problem(&format!("'{unknown}' does not exist"));
            }
            if let (Some(cert), Some(key)) = (cert, key) {
                certificates.push(TlsAuth {
                    domains: domains.unwrap_or_default(),
                    cert,
                    key,
                    password,
                });
            }
        }
        Some(certificates)
    }

    fn pem(&mut self, key: &str) -> Option<String> {
        let text = self.text(key).unwrap_or_default();
        if text.contains("-----BEGIN ") {
            return Some(text);
        }
        // The text is not repeated: it may be half a key.
        self.problem(&format!("'{key}' is not PEM (no '-----BEGIN' line)"));
        None
    }
}

/// The version; an empty name is any.
fn version(text: &str) -> Option<Option<TlsVersion>> {
    if text.is_empty() {
        return Some(None);
    }
    let known = VERSIONS.iter().find(|(name, _)| *name == text);
    known.map(|(_, version)| Some(*version))
}
