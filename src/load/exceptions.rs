//! Exceptions that scripts throw during a run, counted by what they say.
//!
//! Written by VUs on every thread, seldom; read at the end for the summary.

use std::collections::HashMap;
use std::sync::Mutex;

/// Different texts that are kept; more count under [`OTHERS`].
const TEXTS_MAX: usize = 50;
/// Characters of a text that are kept.
const TEXT_CHARS_MAX: usize = 200;
/// Stands for texts that came when there was no more room.
const OTHERS: &str = "(others)";

#[derive(Debug, Default)]
pub struct Exceptions {
    by_text: Mutex<HashMap<String, u64>>,
}

impl Exceptions {
    /// Counts one exception by the first line of its text.
    pub fn note(&self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let line: String = line.chars().take(TEXT_CHARS_MAX).collect();
        let mut by_text = self.by_text.lock().unwrap_or_else(|e| e.into_inner());
        let room = by_text.len() < TEXTS_MAX || by_text.contains_key(&line);
        *by_text
            .entry(if room { line } else { OTHERS.to_owned() })
            .or_default() += 1;
    }

    /// Texts and their counts, the most frequent first.
    pub fn list(&self) -> Vec<(String, u64)> {
        let by_text = self.by_text.lock().unwrap_or_else(|e| e.into_inner());
        let mut list: Vec<(String, u64)> = by_text.clone().into_iter().collect();
        list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_end_are_counted_together() {
        let exceptions = Exceptions::default();
        for index in 0..TEXTS_MAX + 7 {
            exceptions.note(&format!("Error: {index}\n at x"));
        }
        exceptions.note("Error: 0");
        let list = exceptions.list();
        assert_eq!(list.len(), TEXTS_MAX + 1);
        assert_eq!(list[0], (OTHERS.to_owned(), 7));
        assert_eq!(list[1], ("Error: 0".to_owned(), 2));
    }
}
