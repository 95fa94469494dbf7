//! `auth: 'digest'` and `auth: 'ntlm'`: the round trips before the one that counts.
//!
//! As in k6, each of them is a request of its own: counted, and expected to be refused.

mod ntlm;

use digest_auth::{AuthContext, HttpMethod};
use percent_encoding::percent_decode_str;
use url::Url;

pub(super) use self::ntlm::ntlm;

use super::leg::Leg;
use super::perform::Work;
use super::spec::Spec;
use crate::load::client::{Answer, Failure, Request, RoundTrip};

/// A round trip without credentials and, if that is refused, one with the answer to the server's
/// challenge (RFC 7616). The credentials of the URL are never sent.
pub(super) async fn digest(
    work: &Work<'_>,
    spec: &Spec,
    leg: &mut Leg,
    mut request: Request,
) -> RoundTrip {
    let (user, password) = credentials(&request.address.url);
    let bare = std::rc::Rc::new(request.address.without_credentials());
    leg.address = Some(bare.clone());
    request.address = bare;
    take_authorization(&mut request, spec);
    let trip = work.round(&request).await;
    let refused = matches!(&trip.outcome, Ok(answer) if answer.status == 401);
    if !refused {
        return trip;
    }
    // The refusal is what is expected of the first one.
    work.emit(spec, leg, &trip, spec.expected.matches(0).map(|_| true));
    let Ok(answer) = &trip.outcome else {
        return trip;
    };
    match authorization(&request, answer, &user, &password) {
        Ok(header) => {
            request.headers.push(("Authorization".into(), header));
            work.round(&request).await
        }
        Err(reason) => RoundTrip {
            outcome: Err(Failure::new(1000, format!("digest: {reason}"))),
            ..trip
        },
    }
}

fn authorization(
    request: &Request,
    answer: &Answer,
    user: &str,
    password: &str,
) -> Result<String, String> {
    let challenges = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"))
        .map(|(_, value)| value.as_str());
    let begins = |value: &&str| {
        let scheme = value.get(..6).unwrap_or_default();
        scheme.eq_ignore_ascii_case("digest")
    };
    let challenge = challenges
        .into_iter()
        .find(begins)
        .ok_or("the server asks for something else")?;
    let mut prompt = digest_auth::parse(challenge).map_err(|error| error.to_string())?;
    let context = AuthContext::new_with_method(
        user,
        password,
        &*request.address.target,
        Some(&request.body[..]),
        HttpMethod::from(&*request.method),
    );
    let answer = prompt
        .respond(&context)
        .map_err(|error| error.to_string())?;
    Ok(answer.to_header_string())
}

/// The credentials of a URL as a server knows them.
fn credentials(url: &Url) -> (String, String) {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    (
        plain(url.username()),
        plain(url.password().unwrap_or_default()),
    )
}

/// Removes the `Authorization` made from the URL; one of the script's own stays.
fn take_authorization(request: &mut Request, spec: &Spec) {
    let is_authorization =
        |(name, _): &(String, String)| name.eq_ignore_ascii_case("authorization");
    if !spec.headers.iter().any(is_authorization) {
        request.headers.retain(|header| !is_authorization(header));
    }
}
