//! AWS Signature Version 4, as far as remote write to a managed Prometheus needs it.
//!
//! By the public description ("Signing AWS API requests"): the headers `host` and `x-amz-date`
//! and the body are signed. Pure: the time is handed in.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use url::{Position, Url};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Whose requests are signed, and for where.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) region: String,
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) service: &'static str,
}

/// The secret never shows.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, {})", self.region, self.service)
    }
}

impl Signer {
    /// The value of `Authorization`. `time` is `x-amz-date`, as in `20150830T123600Z`.
    pub(super) fn authorization(&self, method: &str, url: &Url, body: &[u8], time: &str) -> String {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        let query = url.query().unwrap_or_default();
        let signed = "host;x-amz-date";
        let canonical = format!(
            "{method}\n{}\n{query}\nhost:{host}\nx-amz-date:{time}\n\n{signed}\n{}",
            url.path(),
            hex(&Sha256::digest(body))
        );
        let date = &time[..8];
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{digest}");
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [date, &self.region, self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = hex(&mac(&key, to_sign.as_bytes()));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access_key
        )
    }
}

/// `2015-08-30T12:36:00Z` as `20150830T123600Z`.
pub(super) fn compact_time(rfc3339: &str) -> String {
    rfc3339.replace(['-', ':'], "")
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_published_example() {
        let signer = Signer {
            region: "us-east-1".to_owned(),
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            service: "service",
        };
        let url = Url::parse("https://example.amazonaws.com/").expect("an address");
        let time = compact_time("2015-08-30T12:36:00Z");
        let header = signer.authorization("GET", &url, b"", &time);
        let wanted = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert!(header.ends_with(wanted), "{header}");
        assert!(header.contains("Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"));
    }
}
