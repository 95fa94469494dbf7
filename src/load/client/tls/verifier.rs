//! Checks servers' certificates, or takes any where the script says so, and keeps what was stapled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::super::Failure;

/// Certificates whose staple is remembered.
const STAPLES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` takes every certificate.
    trust: Option<Arc<WebPkiServerVerifier>>,
    schemes: Vec<SignatureScheme>,
    /// OCSP answer by certificate: the handshake gives it to nobody else.
    staples: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Verifier {
    pub(super) fn new(
        roots: Option<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier, Failure> {
        let trust = roots.map(|roots| {
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .map_err(|error| Failure::new(1300, format!("tls: {error}")))
        });
        Ok(Verifier {
            trust: trust.transpose()?,
            schemes: provider
                .signature_verification_algorithms
                .supported_schemes(),
            staples: Mutex::default(),
        })
    }

    pub(super) fn staple_of(&self, certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
        let staples = self.staples.lock().unwrap_or_else(PoisonError::into_inner);
        staples.get(certificate.as_ref()).cloned()
    }

    fn keep(&self, certificate: &CertificateDer<'_>, staple: &[u8]) {
        let mut staples = self.staples.lock().unwrap_or_else(PoisonError::into_inner);
        if staple.is_empty() {
            staples.remove(certificate.as_ref());
            return;
        }
        if staples.len() >= STAPLES_MAX {
            staples.clear();
        }
        staples.insert(certificate.to_vec(), staple.to_vec());
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.keep(end_entity, ocsp_response);
        match &self.trust {
            Some(trust) => {
                trust.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.trust {
            Some(trust) => trust.verify_tls12_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match &self.trust {
            Some(trust) => trust.verify_tls13_signature(message, certificate, signature),
            None => Ok(HandshakeSignatureValid::assertion()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
