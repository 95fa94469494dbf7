//! What Responses keep outside of their VM's heap (sent bodies, heads), counted per VU, so that a
//! script that hoards Responses meets the limit of its memory as with any other hoard.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::{Ctx, Exception};

/// The count of one VU.
#[derive(Debug)]
pub(crate) struct Keeping {
    bytes: Cell<usize>,
    max: usize,
}

impl Keeping {
    pub(crate) fn new(max: usize) -> Rc<Keeping> {
        Rc::new(Keeping {
            bytes: Cell::new(0),
            max,
        })
    }
}

/// The part of one Response, given back with it.
#[derive(Debug)]
pub(super) struct Kept {
    of: Rc<Keeping>,
    bytes: usize,
}

impl Kept {
    pub(super) fn new(of: &Rc<Keeping>, bytes: usize) -> Kept {
        of.bytes.set(of.bytes.get() + bytes);
        Kept {
            of: of.clone(),
            bytes,
        }
    }

    /// # Errors
    /// A `RangeError`: all Responses of this VU together take more than its memory limit.
    pub(super) fn refuse_too_much(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let Keeping { bytes, max } = &*self.of;
        if bytes.get() <= *max {
            return Ok(());
        }
        // Responses in cycles of garbage.
        ctx.run_gc();
        if bytes.get() <= *max {
            return Ok(());
        }
        let text = format!(
            "the responses that this VU keeps take more than {max} bytes; keep what you need of \
             them, or raise --vu-memory-max"
        );
        Err(Exception::throw_range(ctx, &text))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.of.bytes.set(self.of.bytes.get() - self.bytes);
    }
}
