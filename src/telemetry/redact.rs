//! Secrets that no log line may show.

use std::borrow::Cow;
use std::sync::{Arc, RwLock};

/// k6's words for what stood there.
const INSTEAD: &str = "***SECRET_REDACTED***";

/// Texts that are replaced in every log line from the moment they are added. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Redactor(Arc<RwLock<Vec<String>>>);

impl Redactor {
    /// Blank texts are no secrets.
    pub fn add(&self, secret: &str) {
        if secret.trim().is_empty() {
            return;
        }
        let mut secrets = self.0.write().unwrap_or_else(|held| held.into_inner());
        if !secrets.iter().any(|known| known == secret) {
            secrets.push(secret.to_owned());
            // One that contains another must go first, or its rest would show.
            secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    pub(super) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.0.read().unwrap_or_else(|held| held.into_inner());
        let mut clean = Cow::Borrowed(text);
        for secret in secrets.iter() {
            if clean.contains(secret.as_str()) {
                clean = Cow::Owned(clean.replace(secret.as_str(), INSTEAD));
            }
        }
        clean
    }
}

impl PartialEq for Redactor {
    fn eq(&self, other: &Redactor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_wherever_they_stand() {
        let redactor = Redactor::default();
        assert_eq!(redactor.clean("a key=s3cret"), "a key=s3cret");
        redactor.add("s3");
        redactor.add("s3cret");
        redactor.add(" ");
        assert_eq!(
            redactor.clean("key=s3cret s3"),
            format!("key={INSTEAD} {INSTEAD}")
        );
    }
}
