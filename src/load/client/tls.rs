//! TLS of the load client: which versions, suites and certificates, and what came of a handshake.
//!
//! One per worker thread. Configurations are made at the first connection that needs them; trust
//! anchors are read once. Sessions are never resumed: each connection of k6 greets in full, and
//! `tls_handshaking` must mean the same here.

mod client_auth;
mod verifier;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};

use self::client_auth::ClientCertificates;
use self::verifier::Verifier;
use super::Failure;
use super::ocsp::Staple;
use crate::load::options::{Network, TlsVersion};

/// Which application protocols are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    Http1,
    #[cfg(feature = "grpc")]
    Http2,
    /// Either, HTTP/2 preferred.
    Both,
}

/// What scripts see of a connection's TLS.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// `tls1.2` or `tls1.3`.
    pub(crate) version: &'static str,
    /// As k6 spells it.
    pub(crate) cipher_suite: &'static str,
    /// What the server stapled about its certificate.
    pub(crate) staple: Option<Staple>,
}

/// TLS settings of a run, and the configurations made from them so far.
pub(crate) struct Tls {
    network: Arc<Network>,
    /// Any certificate will do (`insecureSkipTLSVerify`).
    insecure: bool,
    /// Trusted beside the machine's own, as PEM.
    anchors: Vec<String>,
    base: OnceCell<Result<Base, Failure>>,
    /// The second part of the key is the host where certificates depend on it.
    configs: RefCell<HashMap<(Alpn, String), Arc<ClientConfig>>>,
}

/// What all configurations share.
struct Base {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    verifier: Arc<Verifier>,
    certificates: ClientCertificates,
}

impl Tls {
    pub(crate) fn new(network: Arc<Network>, insecure: bool) -> Tls {
        Tls {
            network,
            insecure,
            anchors: Vec::new(),
            base: OnceCell::new(),
            configs: RefCell::default(),
        }
    }

    /// With more authorities to trust.
    #[cfg(feature = "grpc")]
    pub(crate) fn with_anchors(self, pem: &[String]) -> Tls {
        Tls {
            anchors: pem.to_vec(),
            ..self
        }
    }

    /// Greets the server `host` over `stream`.
    pub(super) async fn greet<S>(
        &self,
        host: &str,
        alpn: Alpn,
        stream: S,
    ) -> Result<TlsStream<S>, Failure>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(Failure::invalid_url)?;
        let config = self.config(host, alpn)?;
        let connector = TlsConnector::from(config);
        let connected = connector.connect(name, stream).await;
        connected.map_err(|error| Failure::tls(&error))
    }

    /// What a finished handshake agreed on.
    pub(super) fn facts<S>(&self, stream: &TlsStream<S>) -> Rc<TlsFacts> {
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "tls1.2",
            _ => "tls1.3",
        };
        let suite = session.negotiated_cipher_suite();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let verifier = match self.base.get() {
            Some(Ok(base)) => Some(&base.verifier),
            _ => None,
        };
        let staple = certificate
            .zip(verifier)
            .and_then(|(certificate, verifier)| {
                let bytes = verifier.staple_of(certificate)?;
                Staple::parse(&bytes)
            });
        Rc::new(TlsFacts {
            version,
            cipher_suite: suite.map_or("", |suite| suite_name(suite.suite())),
            staple,
        })
    }

    fn config(&self, host: &str, alpn: Alpn) -> Result<Arc<ClientConfig>, Failure> {
        let base = self
            .base
            .get_or_init(|| Base::new(&self.network, self.insecure, &self.anchors));
        let base = base.as_ref().map_err(Clone::clone)?;
        let by_host = base.certificates.depend_on_host();
        let key = (
            alpn,
            if by_host {
                host.to_owned()
            } else {
                String::new()
            },
        );
        if let Some(known) = self.configs.borrow().get(&key) {
            return Ok(known.clone());
        }
        let builder = ClientConfig::builder_with_provider(base.provider.clone())
            .with_protocol_versions(&base.versions)
            .map_err(|_| no_common_version())?
            .dangerous()
            .with_custom_certificate_verifier(base.verifier.clone());
        let mut config = match base.certificates.for_host(host) {
            Some(resolver) => builder.with_client_cert_resolver(resolver),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = match alpn {
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            #[cfg(feature = "grpc")]
            Alpn::Http2 => vec![b"h2".to_vec()],
            Alpn::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let config = Arc::new(config);
        let mut configs = self.configs.borrow_mut();
        configs.insert(key, config.clone());
        Ok(config)
    }
}

impl Base {
    fn new(network: &Network, insecure: bool, anchors: &[String]) -> Result<Base, Failure> {
        let provider = Arc::new(provider(network)?);
        let roots = if insecure { None } else { Some(roots(anchors)) };
        Ok(Base {
            versions: versions(network)?,
            verifier: Arc::new(Verifier::new(roots, &provider)?),
            certificates: ClientCertificates::read(&network.tls_auth, &provider)?,
            provider,
        })
    }
}

/// Of the suites wanted those that the library has; TLS 1.3 has its own, which can't be chosen.
fn provider(network: &Network) -> Result<CryptoProvider, Failure> {
    let mut provider = ring::default_provider();
    if let Some(wanted) = &network.tls_cipher_suites {
        provider.cipher_suites.retain(|suite| {
            let name = suite_name(suite.suite());
            suite.tls13().is_some() || wanted.iter().any(|wanted| wanted.name == name)
        });
    }
    Ok(provider)
}

fn versions(network: &Network) -> Result<Vec<&'static SupportedProtocolVersion>, Failure> {
    let wanted = network.tls_versions;
    let allows = |version: TlsVersion| {
        wanted.min.is_none_or(|min| min <= version) && wanted.max.is_none_or(|max| version <= max)
    };
    let mut versions = Vec::new();
    if allows(TlsVersion::Tls12) {
        versions.push(&TLS12);
    }
    if allows(TlsVersion::Tls13) {
        versions.push(&TLS13);
    }
    if versions.is_empty() {
        return Err(no_common_version());
    }
    Ok(versions)
}

fn no_common_version() -> Failure {
    Failure::new(
        1300,
        "tls: no supported versions satisfy MinVersion and MaxVersion (dchat has TLS 1.2 and 1.3)",
    )
}

/// The machine's own trust anchors and, where it has none, Mozilla's.
fn roots(anchors: &[String]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for pem in anchors {
        let given = CertificateDer::pem_slice_iter(pem.as_bytes());
        roots.add_parsable_certificates(given.flatten());
    }
    let native = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// k6's name of a suite, which is Go's.
fn suite_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
        }
        other => other.as_str().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::options::{CipherSuite as Wanted, TlsVersions};

    #[test]
    fn versions_and_suites_are_those_asked_for() {
        let mut network = Network {
            tls_versions: TlsVersions {
                min: None,
                max: Some(TlsVersion::Tls12),
            },
            ..Network::default()
        };
        assert_eq!(versions(&network).expect("1.2").len(), 1);
        network.tls_versions.max = Some(TlsVersion::Tls11);
        assert_eq!(versions(&network).expect_err("none").code, 1300);
        let name = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
        network.tls_cipher_suites = Some(vec![Wanted { name }]);
        let left = provider(&network).expect("suites").cipher_suites;
        let old: Vec<&str> = left
            .iter()
            .filter(|suite| suite.tls13().is_none())
            .map(|suite| suite_name(suite.suite()))
            .collect();
        assert_eq!(old, [name]);
    }
}
