//! The results page, in a real browser.
