//! The HTTP contract: routes, filters, pushing, errors.
