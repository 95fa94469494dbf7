//! `systemTags`: which tags the engine puts on samples.

use super::reader::Fields;

/// Tags that k6 sets itself. The discriminant is a bit of [`SystemTags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemTag {
    Proto = 1,
    Subproto = 1 << 1,
    Status = 1 << 2,
    Method = 1 << 3,
    Url = 1 << 4,
    Name = 1 << 5,
    Group = 1 << 6,
    Check = 1 << 7,
    Error = 1 << 8,
    ErrorCode = 1 << 9,
    TlsVersion = 1 << 10,
    Scenario = 1 << 11,
    Service = 1 << 12,
    ExpectedResponse = 1 << 13,
    /// Metadata rather than a tag, as is `vu`.
    Iter = 1 << 14,
    Vu = 1 << 15,
    OcspStatus = 1 << 16,
    Ip = 1 << 17,
}

const NAMES: [(&str, SystemTag); 18] = [
    ("proto", SystemTag::Proto),
    ("subproto", SystemTag::Subproto),
    ("status", SystemTag::Status),
    ("method", SystemTag::Method),
    ("url", SystemTag::Url),
    ("name", SystemTag::Name),
    ("group", SystemTag::Group),
    ("check", SystemTag::Check),
    ("error", SystemTag::Error),
    ("error_code", SystemTag::ErrorCode),
    ("tls_version", SystemTag::TlsVersion),
    ("scenario", SystemTag::Scenario),
    ("service", SystemTag::Service),
    ("expected_response", SystemTag::ExpectedResponse),
    ("iter", SystemTag::Iter),
    ("vu", SystemTag::Vu),
    ("ocsp_status", SystemTag::OcspStatus),
    ("ip", SystemTag::Ip),
];

/// The first fourteen are on by default.
const DEFAULT: u32 = (1 << 14) - 1;

/// A set of [`SystemTag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemTags(u32);

impl Default for SystemTags {
    fn default() -> SystemTags {
        SystemTags(DEFAULT)
    }
}

impl SystemTags {
    pub fn has(self, tag: SystemTag) -> bool {
        self.0 & tag as u32 != 0
    }

    /// Whether it is k6's default, for which nothing has to be filtered.
    pub fn is_default(self) -> bool {
        self.0 == DEFAULT
    }

    /// Names of the tags in it, sorted, as k6 prints them.
    pub fn names(self) -> Vec<&'static str> {
        let on = NAMES.iter().filter(|(_, tag)| self.has(*tag));
        let mut names: Vec<&str> = on.map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }

    /// Unknown names count for nothing, as in k6.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> SystemTags {
        let known = names.into_iter().filter_map(|name| {
            let name = name.trim();
            NAMES.iter().find(|(known, _)| *known == name)
        });
        SystemTags(known.fold(0, |set, (_, tag)| set | *tag as u32))
    }
}

impl Fields<'_> {
    /// A list of names; an empty one changes nothing.
    pub(super) fn system_tags(&mut self, key: &str) -> Option<SystemTags> {
        let names = self.list(key, "a list of names of system tags")?;
        let given = !names.is_empty();
        given.then(|| SystemTags::of(names.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_all_but_the_last_four() {
        let default = SystemTags::default();
        assert!(default.has(SystemTag::Url) && default.has(SystemTag::ExpectedResponse));
        assert!(!default.has(SystemTag::Vu) && !default.has(SystemTag::Ip));
        assert_eq!(default.names().len(), 14);
        assert_eq!(
            SystemTags::of(["vu", "url", "nonsense"]).names(),
            ["url", "vu"]
        );
    }
}
