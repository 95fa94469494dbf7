//! What the relay says about itself.
