//! Errors and their classes.

use crate::json::{Json, Object};
use std::fmt;
use std::io;
use std::time::Duration;

/// What kind of failure an error is; the host decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The operator must change something.
    InvalidConfig,
    /// Try again, after [`Error::retry_after`] if set.
    Temporary,
    /// The system that was asked or told refused.
    Downstream,
    /// This platform or device cannot do it.
    Unsupported,
    /// The grants do not allow it.
    PermissionDenied,
    /// A bug in the plugin; the class of an unclassified error.
    Internal,
}

const CLASSES: [(Class, &str); 6] = [
    (Class::InvalidConfig, "invalid_config"),
    (Class::Temporary, "temporary"),
    (Class::Downstream, "downstream"),
    (Class::Unsupported, "unsupported"),
    (Class::PermissionDenied, "permission_denied"),
    (Class::Internal, "internal"),
];

impl Class {
    /// The name of the class on its way, for example "invalid_config".
    pub fn name(self) -> &'static str {
        CLASSES.iter().find(|c| c.0 == self).map_or("internal", |c| c.1)
    }

    /// The class of that name; what does not exist is `Internal`.
    pub(crate) fn of(name: &str) -> Class {
        CLASSES.iter().find(|c| c.1 == name).map_or(Class::Internal, |c| c.0)
    }
}

/// A failure with its class. Any `std::error::Error` becomes one of class `Internal` by `?`.
#[derive(Clone, Debug)]
pub struct Error {
    /// What kind of failure it is.
    pub class: Class,
    /// What happened and what to do about it.
    pub message: String,
    /// How long to wait before another try.
    pub retry_after: Option<Duration>,
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the class.
    pub fn new(class: Class, message: impl Into<String>) -> Error {
        Error { class, message: message.into(), retry_after: None }
    }

    /// An error that the operator must repair.
    pub fn invalid_config(message: impl Into<String>) -> Error {
        Error::new(Class::InvalidConfig, message)
    }

    /// An error that may be gone at the next try.
    pub fn temporary(message: impl Into<String>) -> Error {
        Error::new(Class::Temporary, message)
    }

    /// An error of the system that was asked or told.
    pub fn downstream(message: impl Into<String>) -> Error {
        Error::new(Class::Downstream, message)
    }

    /// Something that this plugin or its runtime cannot do.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(Class::Unsupported, message)
    }

    /// A bug.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new(Class::Internal, message)
    }

    /// The same error with a time to wait before another try.
    pub fn retry_after(mut self, wait: Duration) -> Error {
        self.retry_after = Some(wait);
        self
    }

    /// The same error with words in front that say what was being done.
    pub fn context(mut self, what: &str) -> Error {
        self.message = format!("{}: {}", what, self.message);
        self
    }

    pub(crate) fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("class", self.class.name());
        o.put("message", cut(&self.message, MAX_MESSAGE).as_str());
        if let Some(wait) = self.retry_after {
            o.put("retry_after", i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        }
        o.into()
    }

    pub(crate) fn from_json(v: &Json) -> Error {
        let mut e = Error::new(Class::of(v.text("class")), v.text("message"));
        if let Some(ns) = v.get("retry_after").and_then(Json::as_u64) {
            e.retry_after = Some(Duration::from_nanos(ns));
        }
        e
    }
}

/// The longest text of an error, in bytes.
const MAX_MESSAGE: usize = 4 << 10;

/// The first bytes of a text, at most n, cut between two characters.
pub(crate) fn cut(s: &str, n: usize) -> String {
    let mut end = s.len().min(n);
    while !s.is_char_boundary(end) {
        end -= 1;
    }
    s[..end].to_string()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// Error itself is no std::error::Error, so that this can be: `?` works on everything.
impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(e: E) -> Error {
        let any: &(dyn std::error::Error + 'static) = &e;
        let inner = any.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(w) = inner.and_then(|i| i.downcast_ref::<Wrapped>()) {
            return w.0.clone();
        }
        Error::internal(e.to_string())
    }
}

/// Wrapped is an Error inside of an io::Error, so that its class survives std::io.
#[derive(Debug)]
struct Wrapped(Error);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Wrapped {}

pub(crate) fn io_error(kind: io::ErrorKind, e: Error) -> io::Error {
    io::Error::new(kind, Wrapped(e))
}
