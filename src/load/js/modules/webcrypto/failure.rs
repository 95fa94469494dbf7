//! Why an operation of `crypto.subtle` failed, by the names of the Web Crypto API.

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{name}: {message}")]
pub(super) struct Failure {
    pub(super) name: &'static str,
    pub(super) message: String,
}

impl Failure {
    /// The key data is not what its format says.
    pub(super) fn data(message: &str) -> Failure {
        Failure::named("DataError", message)
    }

    /// The operation did not work with what it was given.
    pub(super) fn operation(message: &str) -> Failure {
        Failure::named("OperationError", message)
    }

    /// The key is not for this.
    pub(super) fn access(message: &str) -> Failure {
        Failure::named("InvalidAccessError", message)
    }

    pub(super) fn unsupported(message: &str) -> Failure {
        Failure::named("NotSupportedError", message)
    }

    fn named(name: &'static str, message: &str) -> Failure {
        Failure {
            name,
            message: message.to_owned(),
        }
    }
}
