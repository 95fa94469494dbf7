//! Promises that were rejected and that nobody has taken care of yet.
//!
//! A handler may be attached after the rejection (`await` does so), so what is left counts only at
//! the end of an iteration.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};

use rquickjs::{Ctx, Object, Value};

use super::ScriptError;
use super::exception::thrown;

/// Most rejections that are remembered at once; of more, the first are told.
const REJECTIONS_MAX: usize = 100;

#[derive(Default)]
pub(crate) struct Rejections(RefCell<Vec<(u64, ScriptError)>>);

impl Rejections {
    /// A promise was rejected without a handler.
    pub(crate) fn add(&self, ctx: &Ctx<'_>, promise: &Value<'_>, reason: &Value<'_>) {
        if self.0.borrow().len() < REJECTIONS_MAX
            && let Some(promise) = promise.as_object()
        {
            // Wording the reason may run the script's own getters: nothing is borrowed meanwhile.
            let error = thrown(ctx, reason);
            self.0.borrow_mut().push((identity(promise), error));
        }
    }

    /// Somebody takes care of it after all.
    pub(crate) fn remove(&self, promise: &Object<'_>) {
        let identity = identity(promise);
        let mut rejections = self.0.borrow_mut();
        // The last one: an earlier promise at the same address is gone.
        if let Some(at) = rejections.iter().rposition(|(known, _)| *known == identity) {
            rejections.remove(at);
        }
    }

    /// What is left, in the order of the rejections.
    pub(crate) fn take(&self) -> Vec<ScriptError> {
        let rejections = self.0.take();
        rejections.into_iter().map(|(_, error)| error).collect()
    }
}

fn identity(promise: &Object<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    promise.hash(&mut hasher);
    hasher.finish()
}
