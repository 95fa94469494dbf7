//! One value out of a JSON object by its key, the rest of the text only looked through.
//!
//! Scripts take one field of an answer far more often than all of them, and making the others costs
//! a tenth of a busy run.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Picked<'t> {
    Text(Cow<'t, str>),
    /// Anything else, as it stands in the text.
    Json(&'t str),
}

impl<'t> Picked<'t> {
    /// The first value of `key`; `None` without one, and for a text that is no valid JSON object.
    pub(super) fn from(text: &'t str, key: &str) -> Option<Picked<'t>> {
        let mut json = serde_json::Deserializer::from_str(text);
        let raw = Wanted(key).deserialize(&mut json).ok()??;
        json.end().ok()?;
        let raw = raw.get();
        if !raw.starts_with('"') {
            return Some(Picked::Json(raw));
        }
        // Without escapes it is what stands between the quotes.
        let inside = &raw[1..raw.len() - 1];
        if !inside.contains('\\') {
            return Some(Picked::Text(inside.into()));
        }
        // JavaScript also has strings that no text of Rust's can hold: its own parser reads them.
        match serde_json::from_str::<String>(raw) {
            Ok(text) => Some(Picked::Text(text.into())),
            Err(_) => Some(Picked::Json(raw)),
        }
    }
}

/// The object with the key.
struct Wanted<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it && found.is_none() {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_found_by_its_key() {
        let text = r#" {"a":1,"b":{"c":"no"},"c":"x\ny","d":"plain","e":[1, 2],"d":"later"} "#;
        let found = |key: &str| Picked::from(text, key);
        assert_eq!(found("c"), Some(Picked::Text("x\ny".into())));
        assert_eq!(found("d"), Some(Picked::Text("plain".into())));
        assert_eq!(found("a"), Some(Picked::Json("1")));
        assert_eq!(found("e"), Some(Picked::Json("[1, 2]")));
        assert_eq!(found("f"), None);
    }

    #[test]
    fn what_is_no_object_or_not_valid_to_its_end_has_no_values() {
        for text in ["", "[1]", "7", r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":tru}"#] {
            assert_eq!(Picked::from(text, "a"), None, "{text}");
        }
        let lone = r#"{"a":"\ud800"}"#;
        assert_eq!(Picked::from(lone, "a"), Some(Picked::Json(r#""\ud800""#)));
    }
}
