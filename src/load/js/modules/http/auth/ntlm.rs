//! NTLM over HTTP with NTLMv2 answers (MS-NTHT, MS-NLMP): three round trips on one connection.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;

use super::credentials;
use crate::load::client::{Answer, Failure, Request, RoundTrip};
use crate::load::js::modules::http::leg::Leg;
use crate::load::js::modules::http::perform::Work;
use crate::load::js::modules::http::spec::Spec;

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Unicode, target wanted, NTLM, always sign, extended session security, target info, 128 and 56.
const FLAGS: u32 = 0xa088_8205;
/// Where the payload of an authenticate message begins: behind its fields and flags.
const PAYLOAD_AT: usize = 64;

/// Anonymous first; where the server asks for NTLM, the greeting, its challenge and the proof.
pub(in crate::load::js::modules::http) async fn ntlm(
    work: &Work<'_>,
    spec: &Spec,
    leg: &Leg,
    mut request: Request,
) -> RoundTrip {
    let (user, password) = credentials(&request.address.url);
    let basic = take_basic(&mut request);
    let trip = work.round(&request).await;
    let Some(scheme) = asked(&trip) else {
        return match (&trip.outcome, basic) {
            (Ok(answer), Some(basic)) if answer.status == 401 => {
                emit_refusal(work, spec, leg, &trip);
                request.headers.push(basic);
                work.round(&request).await
            }
            _ => trip,
        };
    };
    emit_refusal(work, spec, leg, &trip);
    let greeting = format!("{scheme} {}", STANDARD.encode(greeting()));
    request.headers.push(("Authorization".into(), greeting));
    let trip = work.round(&request).await;
    let proof = match &trip.outcome {
        Ok(answer) if answer.status == 401 => challenge(answer, &scheme),
        _ => return trip,
    };
    let Some(challenge) = proof else {
        return RoundTrip {
            outcome: Err(Failure::new(
                1000,
                "ntlm: the server's challenge can't be read",
            )),
            ..trip
        };
    };
    work.emit(spec, leg, &trip, spec.expected.matches(401));
    let account = Account::new(&user, &password);
    let proof = account.prove(&challenge, &Moment::now());
    request.headers.pop();
    let proof = format!("{scheme} {}", STANDARD.encode(proof));
    request.headers.push(("Authorization".into(), proof));
    work.round(&request).await
}

/// A first refusal is as good as a success.
fn emit_refusal(work: &Work<'_>, spec: &Spec, leg: &Leg, trip: &RoundTrip) {
    work.emit(spec, leg, trip, spec.expected.matches(0).map(|_| true));
}

fn take_basic(request: &mut Request) -> Option<(String, String)> {
    let place = request.headers.iter().position(|(name, value)| {
        name.eq_ignore_ascii_case("authorization") && value.starts_with("Basic ")
    })?;
    Some(request.headers.remove(place))
}

/// The scheme by which the server asks for NTLM.
fn asked(trip: &RoundTrip) -> Option<String> {
    let answer = trip
        .outcome
        .as_ref()
        .ok()
        .filter(|answer| answer.status == 401)?;
    ["NTLM", "Negotiate"]
        .into_iter()
        .find(|scheme| authenticate(answer, scheme).is_some())
        .map(str::to_owned)
}

/// What follows the scheme in `WWW-Authenticate`.
fn authenticate<'a>(answer: &'a Answer, scheme: &str) -> Option<&'a str> {
    let mut values = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map(|(_, value)| value.trim());
    values.find_map(|value| {
        let (head, rest) = value.split_at_checked(scheme.len())?;
        let ends = rest.is_empty() || rest.starts_with(' ');
        (ends && head.eq_ignore_ascii_case(scheme)).then(|| rest.trim())
    })
}

/// The first message: only what this client can do.
fn greeting() -> Vec<u8> {
    let mut message = SIGNATURE.to_vec();
    message.extend(1_u32.to_le_bytes());
    message.extend(FLAGS.to_le_bytes());
    message.extend([0; 16]);
    message
}

/// What a server's message says.
struct Challenge {
    nonce: [u8; 8],
    target: Vec<u8>,
}

fn challenge(answer: &Answer, scheme: &str) -> Option<Challenge> {
    let message = STANDARD.decode(authenticate(answer, scheme)?).ok()?;
    if !message.starts_with(SIGNATURE) || message.get(8..12)? != 2_u32.to_le_bytes() {
        return None;
    }
    let length = u16::from_le_bytes(message.get(40..42)?.try_into().ok()?);
    let from = u32::from_le_bytes(message.get(44..48)?.try_into().ok()?) as usize;
    Some(Challenge {
        nonce: message.get(24..32)?.try_into().ok()?,
        target: message
            .get(from..from.checked_add(length.into())?)?
            .to_vec(),
    })
}

/// What makes each proof another one.
struct Moment {
    /// In tenths of microseconds since 1601.
    file_time: u64,
    nonce: [u8; 8],
}

impl Moment {
    fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default();
        let mut nonce = [0; 8];
        // A nonce of zeros is weaker, which a load test can live with.
        let _ = getrandom::fill(&mut nonce);
        Moment {
            file_time: (since.as_micros() as u64 + 11_644_473_600_000_000) * 10,
            nonce,
        }
    }
}

struct Account {
    domain: String,
    user: String,
    /// NTOWFv2.
    key: [u8; 16],
}

impl Account {
    /// `user` may be `DOMAIN\user`.
    fn new(user: &str, password: &str) -> Account {
        let (domain, user) = user.split_once('\\').unwrap_or(("", user));
        let hash = Md4::digest(utf16(password));
        let name = utf16(&format!("{}{domain}", user.to_uppercase()));
        Account {
            domain: domain.to_owned(),
            user: user.to_owned(),
            key: keyed(&hash, &[&name]),
        }
    }

    /// The third message.
    fn prove(&self, challenge: &Challenge, moment: &Moment) -> Vec<u8> {
        let (lm, nt) = self.responses(challenge, moment);
        let parts = [
            lm,
            nt,
            utf16(&self.domain),
            utf16(&self.user),
            Vec::new(),
            Vec::new(),
        ];
        let mut message = SIGNATURE.to_vec();
        message.extend(3_u32.to_le_bytes());
        let mut at = PAYLOAD_AT;
        for part in &parts {
            let length = (part.len() as u16).to_le_bytes();
            message.extend(length);
            message.extend(length);
            message.extend((at as u32).to_le_bytes());
            at += part.len();
        }
        message.extend(FLAGS.to_le_bytes());
        message.extend(parts.concat());
        message
    }

    /// `LMv2` and `NTLMv2` responses.
    fn responses(&self, challenge: &Challenge, moment: &Moment) -> (Vec<u8>, Vec<u8>) {
        let mut blob = vec![1, 1, 0, 0, 0, 0, 0, 0];
        blob.extend(moment.file_time.to_le_bytes());
        blob.extend(moment.nonce);
        blob.extend([0; 4]);
        blob.extend(&challenge.target);
        blob.extend([0; 4]);
        let mut nt = keyed(&self.key, &[&challenge.nonce, &blob]).to_vec();
        nt.extend(blob);
        let mut lm = keyed(&self.key, &[&challenge.nonce, &moment.nonce]).to_vec();
        lm.extend(moment.nonce);
        (lm, nt)
    }
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// MS-NLMP, section 4.2.4.
    #[test]
    fn proofs_are_those_of_the_specification() {
        let account = Account::new("Domain\\User", "Password");
        assert_eq!(hex(&account.key), "0c868a403bfd7a93a3001ef22ef02e3f");
        let mut target = vec![2, 0, 12, 0];
        target.extend(utf16("Domain"));
        target.extend([1, 0, 12, 0]);
        target.extend(utf16("Server"));
        target.extend([0; 4]);
        let challenge = Challenge {
            nonce: [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
            target,
        };
        let moment = Moment {
            file_time: 0,
            nonce: [0xaa; 8],
        };
        let (lm, nt) = account.responses(&challenge, &moment);
        assert_eq!(hex(&lm), "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa");
        assert_eq!(hex(&nt[..16]), "68cd0ab851e51c96aabc927bebef6a1c");
        let message = account.prove(&challenge, &moment);
        assert_eq!(&message[PAYLOAD_AT..PAYLOAD_AT + 24], &lm[..]);
    }
}
