//! Host side of the module `k6/crypto/x509`: what a certificate says, as k6 shows it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use rquickjs::{Ctx, Exception, Object, Value};
use serde_json::{Value as Json, json};
use sha1::{Digest, Sha1};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::bytes::bytes_of;
use super::crypto::hex;
use super::set;
use crate::load::js::host::Host;

pub(super) fn install<'js>(part: &Object<'js>, host: &Rc<Host>) -> rquickjs::Result<()> {
    let vm = host.clone();
    set(part, "read", move |ctx: Ctx<'js>, encoded: Value<'js>| {
        let encoded = bytes_of(&ctx, &encoded)?;
        let shown = vm.suspender.on_large_stack(|| read(&encoded));
        match shown {
            Ok(shown) => Ok(shown.to_string()),
            Err(text) => Err(Exception::throw_message(&ctx, &text)),
        }
    })
}

/// The certificate as JSON; `publicKey` is null where k6 doesn't know its kind.
fn read(encoded: &[u8]) -> Result<Json, String> {
    let (_, pem) =
        parse_x509_pem(encoded).map_err(|_| "failed to decode certificate PEM file".to_owned())?;
    let certificate = pem
        .parse_x509()
        .map_err(|error| format!("failed to parse certificate: {error}"))?;
    Ok(json!({
        "subject": subject(certificate.subject()),
        "issuer": issuer(certificate.issuer()),
        "notBefore": time(certificate.validity().not_before),
        "notAfter": time(certificate.validity().not_after),
        "altNames": alt_names(&certificate),
        "signatureAlgorithm": signature_algorithm(&certificate),
        "fingerPrint": Sha1::digest(&pem.contents).to_vec(),
        "publicKey": public_key(&certificate),
    }))
}

/// Values of one attribute, in their order.
fn values(name: &X509Name<'_>, oid: &str) -> Vec<String> {
    let of_oid = name
        .iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == oid);
    of_oid
        .map(|attribute| text(attribute.as_str().ok(), attribute.as_slice()))
        .collect()
}

fn text(known: Option<&str>, bytes: &[u8]) -> String {
    known.map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        str::to_owned,
    )
}

fn names(name: &X509Name<'_>) -> Vec<Json> {
    name.iter_attributes()
        .map(|attribute| {
            let value = text(attribute.as_str().ok(), attribute.as_slice());
            json!({ "type": attribute.attr_type().to_id_string(), "value": value })
        })
        .collect()
}

fn first(name: &X509Name<'_>, oid: &str) -> String {
    values(name, oid).into_iter().next().unwrap_or_default()
}

const COMMON_NAME: &str = "2.5.4.3";
const COUNTRY: &str = "2.5.4.6";
const LOCALITY: &str = "2.5.4.7";
const STATE: &str = "2.5.4.8";
const STREET: &str = "2.5.4.9";
const ORGANIZATION: &str = "2.5.4.10";
const ORGANIZATIONAL_UNIT: &str = "2.5.4.11";
const POSTAL_CODE: &str = "2.5.4.17";

fn subject(name: &X509Name<'_>) -> Json {
    let mut shown = issuer(name);
    shown["postalCode"] = first(name, POSTAL_CODE).into();
    shown["streetAddress"] = first(name, STREET).into();
    shown["organizationalUnitName"] = values(name, ORGANIZATIONAL_UNIT).into();
    shown
}

fn issuer(name: &X509Name<'_>) -> Json {
    json!({
        // Of several the last, as Go has it.
        "commonName": values(name, COMMON_NAME).pop().unwrap_or_default(),
        "country": first(name, COUNTRY),
        "stateOrProvinceName": first(name, STATE),
        "localityName": first(name, LOCALITY),
        "organizationName": first(name, ORGANIZATION),
        "names": names(name),
    })
}

/// RFC 3339 in UTC.
fn time(at: ASN1Time) -> String {
    let at = at.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// DNS names, then mail addresses, IP addresses and URIs.
fn alt_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let Some(extension) = extension else {
        return Vec::new();
    };
    let (mut dns, mut mail, mut addresses, mut uris) = (vec![], vec![], vec![], vec![]);
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => dns.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => mail.push((*name).to_owned()),
            GeneralName::URI(uri) => uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    [dns, mail, addresses, uris].concat()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(sixteen).to_string())
}

/// Go's names.
fn signature_algorithm(certificate: &X509Certificate<'_>) -> &'static str {
    match certificate
        .signature_algorithm
        .algorithm
        .to_id_string()
        .as_str()
    {
        "1.2.840.113549.1.1.2" => "MD2-RSA",
        "1.2.840.113549.1.1.4" => "MD5-RSA",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "SHA1-RSA",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.113549.1.1.10" => pss(certificate),
        "1.2.840.10040.4.3" => "DSA-SHA1",
        "2.16.840.1.101.3.4.3.2" => "DSA-SHA256",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        _ => "UnknownSignatureAlgorithm",
    }
}

fn pss(certificate: &X509Certificate<'_>) -> &'static str {
    use x509_parser::signature_algorithm::{RsaSsaPssParams, SignatureAlgorithm};
    let algorithm = SignatureAlgorithm::try_from(&certificate.signature_algorithm);
    let hash = match &algorithm {
        Ok(SignatureAlgorithm::RSASSA_PSS(params)) => RsaSsaPssParams::hash_algorithm_oid(params),
        _ => return "UnknownSignatureAlgorithm",
    };
    match hash.to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => "SHA256-RSAPSS",
        "2.16.840.1.101.3.4.2.2" => "SHA384-RSAPSS",
        "2.16.840.1.101.3.4.2.3" => "SHA512-RSAPSS",
        _ => "UnknownSignatureAlgorithm",
    }
}

/// Numbers as hexadecimal digits; null where the kind of key is none of k6's.
fn public_key(certificate: &X509Certificate<'_>) -> Json {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => json!({
            "algorithm": "RSA",
            "key": { "n": hex(key.modulus), "e": hex(key.exponent) },
        }),
        Ok(PublicKey::EC(point)) => {
            let curve = info.algorithm.parameters.as_ref();
            let curve = curve.and_then(|curve| curve.as_oid().ok());
            let curve = match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => "P-256",
                Some("1.3.132.0.34") => "P-384",
                Some("1.3.132.0.35") => "P-521",
                _ => return Json::Null,
            };
            let data = point.data();
            // Uncompressed: 4, x, y.
            let Some(numbers) = data.strip_prefix(&[4]).filter(|n| n.len() % 2 == 0) else {
                return Json::Null;
            };
            let (x, y) = numbers.split_at(numbers.len() / 2);
            json!({ "algorithm": "ECDSA", "key": { "curve": curve, "x": hex(x), "y": hex(y) } })
        }
        Ok(PublicKey::DSA(y)) => json!({ "algorithm": "DSA", "key": { "y": hex(y) } }),
        _ => Json::Null,
    }
}
