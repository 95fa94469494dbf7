//! Client certificates (`tlsAuth`): which one a server is shown.
//!
//! Those whose `domains` name the server come first; among them, and then among all, the first
//! that the server can take: signed by an authority it asks for, with a key it can check.

use std::sync::Arc;

use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::Failure;
use crate::load::options::TlsAuth;

/// The certificates of a run in the script's order.
#[derive(Debug, Default)]
pub(super) struct ClientCertificates(Vec<Candidate>);

#[derive(Clone, Debug)]
struct Candidate {
    domains: Vec<String>,
    key: Arc<CertifiedKey>,
    /// Who signed the chain, as DER names.
    issuers: Arc<Vec<Vec<u8>>>,
}

impl ClientCertificates {
    pub(super) fn read(
        given: &[TlsAuth],
        provider: &CryptoProvider,
    ) -> Result<ClientCertificates, Failure> {
        let candidates: Result<Vec<Candidate>, String> =
            given.iter().map(|auth| candidate(auth, provider)).collect();
        candidates
            .map(ClientCertificates)
            .map_err(|text| Failure::new(1300, format!("tls: tlsAuth: {text}")))
    }

    /// Whether different hosts see different certificates.
    pub(super) fn depend_on_host(&self) -> bool {
        self.0.iter().any(|candidate| !candidate.domains.is_empty())
    }

    /// What is shown to `host`; `None` without any certificates.
    pub(super) fn for_host(&self, host: &str) -> Option<Arc<dyn ResolvesClientCert>> {
        if self.0.is_empty() {
            return None;
        }
        let mut candidates = self.0.clone();
        // Stable: within both groups the script's order stays.
        candidates.sort_by_key(|candidate| !candidate.names(host));
        Some(Arc::new(Choice(candidates)))
    }
}

impl Candidate {
    fn names(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.domains.iter().any(|domain| {
            let domain = domain.to_ascii_lowercase();
            match domain.strip_prefix("*.") {
                // A wildcard stands for one label.
                Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
                None => domain == host,
            }
        })
    }
}

/// The candidates for one host, best first.
#[derive(Debug)]
struct Choice(Vec<Candidate>);

impl ResolvesClientCert for Choice {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let fits = |candidate: &&Candidate| {
            let trusted = root_hint_subjects.is_empty()
                || candidate
                    .issuers
                    .iter()
                    .any(|issuer| root_hint_subjects.contains(&issuer.as_slice()));
            trusted && candidate.key.key.choose_scheme(sigschemes).is_some()
        };
        let found = self.0.iter().find(fits);
        found.map(|candidate| candidate.key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn candidate(auth: &TlsAuth, provider: &CryptoProvider) -> Result<Candidate, String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(auth.cert.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("the certificate can't be read: {error}"))?;
    if chain.is_empty() {
        return Err("the certificate has no PEM block".to_owned());
    }
    let key = private_key(auth)?;
    let issuers = chain
        .iter()
        .filter_map(|der| X509Certificate::from_der(der).ok())
        .map(|(_, certificate)| certificate.issuer().as_raw().to_vec())
        .collect();
    let key = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("the key does not fit: {error}"))?;
    Ok(Candidate {
        domains: auth.domains.clone(),
        key: Arc::new(key),
        issuers: Arc::new(issuers),
    })
}

fn private_key(auth: &TlsAuth) -> Result<PrivateKeyDer<'static>, String> {
    if auth.key.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Err("encrypted pkcs8 formatted key is not supported".to_owned());
    }
    if auth.key.contains("Proc-Type: 4,ENCRYPTED") {
        let text = "encrypted keys are not supported; hint: openssl pkey -in KEY -out PLAIN";
        return Err(text.to_owned());
    }
    PrivateKeyDer::from_pem_slice(auth.key.as_bytes())
        .map_err(|error| format!("the key can't be read: {error}"))
}
