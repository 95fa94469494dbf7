//! What a server stapled about its certificate (OCSP, RFC 6960), as far as scripts see it.
//!
//! Reads, does not verify: k6 shows the answer without judging it either.

use x509_parser::der_parser::asn1_rs::{
    Any, Class, Enumerated, FromDer, GeneralizedTime, OctetString, Sequence, Tag,
};

/// k6's fields of `response.ocsp`; times in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staple {
    pub(crate) status: &'static str,
    pub(crate) produced_at: i64,
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    pub(crate) revoked_at: i64,
    pub(crate) revocation_reason: &'static str,
}

/// Seconds of Go's zero time, which k6 shows where a time is missing.
const NO_TIME: i64 = -62_135_596_800;

/// By the numbers of RFC 5280 §5.3.1; 7 is not used.
const REASONS: [&str; 11] = [
    "unspecified",
    "key_compromise",
    "ca_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "certificate_hold",
    "",
    "remove_from_crl",
    "privilege_withdrawn",
    "aa_compromise",
];

impl Staple {
    /// `None` for what is no successful basic OCSP response.
    pub(super) fn parse(der: &[u8]) -> Option<Staple> {
        let basic = basic_response(der)?;
        // BasicOCSPResponse: tbsResponseData first.
        let (_, outer) = Sequence::from_der(&basic).ok()?;
        let (_, data) = Sequence::from_der(&outer.content).ok()?;
        let mut rest: &[u8] = &data.content;
        let mut produced_at = None;
        // version [0] OPTIONAL, responderID [1] or [2], producedAt, responses.
        while produced_at.is_none() {
            let (left, any) = Any::from_der(rest).ok()?;
            rest = left;
            if any.tag() == Tag::GeneralizedTime && any.class() == Class::Universal {
                produced_at = Some(seconds(&any)?);
            }
        }
        let (_, responses) = Sequence::from_der(rest).ok()?;
        let (_, single) = Sequence::from_der(&responses.content).ok()?;
        single_response(&single.content, produced_at?)
    }
}

/// OCSPResponse ::= { responseStatus ENUMERATED, responseBytes [0] { type OID, OCTET STRING } }.
fn basic_response(der: &[u8]) -> Option<Vec<u8>> {
    let (_, response) = Sequence::from_der(der).ok()?;
    let (rest, status) = Enumerated::from_der(&response.content).ok()?;
    if status.0 != 0 {
        return None;
    }
    let (_, explicit) = Any::from_der(rest).ok()?;
    let (_, bytes) = Sequence::from_der(explicit.data).ok()?;
    let (rest, _oid) = Any::from_der(&bytes.content).ok()?;
    let (_, octets) = OctetString::from_der(rest).ok()?;
    Some(octets.as_ref().to_vec())
}

/// SingleResponse ::= { certID, certStatus, thisUpdate, nextUpdate [0] OPTIONAL, ... }.
fn single_response(content: &[u8], produced_at: i64) -> Option<Staple> {
    let (rest, _cert_id) = Any::from_der(content).ok()?;
    let (rest, certificate) = Any::from_der(rest).ok()?;
    let (rest, this_update) = Any::from_der(rest).ok()?;
    let next_update = match Any::from_der(rest) {
        Ok((_, any)) if any.class() == Class::ContextSpecific && any.tag() == Tag(0) => {
            let (_, time) = Any::from_der(any.data).ok()?;
            seconds(&time)?
        }
        _ => NO_TIME,
    };
    let mut staple = Staple {
        status: "good",
        produced_at,
        this_update: seconds(&this_update)?,
        next_update,
        revoked_at: NO_TIME,
        revocation_reason: REASONS[0],
    };
    match certificate.tag() {
        Tag(0) => {}
        Tag(1) => {
            staple.status = "revoked";
            let (rest, at) = Any::from_der(certificate.data).ok()?;
            staple.revoked_at = seconds(&at)?;
            if let Ok((_, reason)) = Any::from_der(rest) {
                let (_, reason) = Enumerated::from_der(reason.data).ok()?;
                staple.revocation_reason = REASONS.get(reason.0 as usize).copied()?;
            }
        }
        _ => staple.status = "unknown",
    }
    Some(staple)
}

fn seconds(any: &Any<'_>) -> Option<i64> {
    let time = GeneralizedTime::try_from(any.clone()).ok()?;
    Some(time.utc_datetime().ok()?.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ocsp` for a certificate of a test authority.
    #[test]
    fn staples_are_read_as_openssl_wrote_them() {
        let revoked = include_bytes!("../../../tests/data/tls/revoked.ocsp.der");
        let staple = Staple::parse(revoked).expect("a basic response");
        assert_eq!(
            (staple.status, staple.revocation_reason),
            ("revoked", "key_compromise")
        );
        assert_eq!(
            (staple.produced_at, staple.this_update),
            (1_795_443_713, 1_795_443_713)
        );
        assert_eq!(staple.next_update, 1_796_048_513);
        assert_eq!(staple.revoked_at, 1_704_164_645);
        let good = include_bytes!("../../../tests/data/tls/good.ocsp.der");
        let staple = Staple::parse(good).expect("a basic response");
        assert_eq!((staple.status, staple.next_update), ("good", NO_TIME));
        // Cut off or turned around it is nothing, and nothing worse.
        for end in 0..good.len() {
            assert_eq!(Staple::parse(&good[..end]), None);
        }
    }
}
