//! Mailboxes and channels: order, cursors, acks, expiry.
