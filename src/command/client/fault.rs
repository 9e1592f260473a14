//! What can go wrong between the client and a broker.

use std::fmt;
use std::io;

use super::super::failure::Failure;
use crate::wire::api::ApiKey;
use crate::wire::codec::DecodeError;
use crate::wire::error::ErrorCode;

/// Why a request has no answer, or not the one that was hoped for.
#[derive(Debug)]
pub enum Fault {
    /// No connection could be made.
    Unreachable {
        /// The broker's address.
        broker: String,
        /// The system's word.
        cause: io::Error,
    },
    /// The connection ended, or the answer did not come in time.
    Lost {
        /// The broker's address.
        broker: String,
        /// What was asked.
        api: ApiKey,
        /// The system's word.
        cause: io::Error,
    },
    /// The answer cannot be read.
    Garbled {
        /// The broker's address.
        broker: String,
        /// What was asked.
        api: ApiKey,
        /// Where and why.
        cause: DecodeError,
    },
    /// The broker does not speak this API, or no version that is known here.
    Unsupported {
        /// The broker's address.
        broker: String,
        /// What was to be asked.
        api: ApiKey,
        /// The versions that it speaks, if any.
        theirs: Option<(i16, i16)>,
    },
    /// The request cannot be put into the protocol's form.
    Unsayable(String),
    /// The metadata name a broker that they do not list.
    NoSuchBroker(i32),
    /// The broker answered with an error.
    Refused {
        /// During what.
        doing: String,
        /// Kafka's code.
        code: ErrorCode,
        /// The broker's own words, if any.
        message: Option<String>,
        /// Whether trying again is pointless although the code allows it.
        for_good: bool,
    },
}

impl Fault {
    /// An error that a broker answered with.
    pub fn refused(doing: impl fmt::Display, code: ErrorCode, message: Option<String>) -> Fault {
        Fault::Refused { doing: doing.to_string(), code, message, for_good: false }
    }

    /// The same fault, not to be tried again.
    pub fn for_good(self) -> Fault {
        match self {
            Fault::Refused { doing, code, message, .. } => {
                Fault::Refused { doing, code, message, for_good: true }
            }
            other => other,
        }
    }

    /// The broker's error code, where it answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Fault::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same may succeed later, perhaps at another broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            Fault::Unreachable { .. } | Fault::Lost { .. } | Fault::NoSuchBroker(_) => true,
            Fault::Refused { code, for_good, .. } => code.is_retriable() && !for_good,
            Fault::Garbled { .. } | Fault::Unsupported { .. } | Fault::Unsayable(_) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unreachable { broker, cause } => write!(f, "cannot connect to {broker}: {cause}"),
            Fault::Lost { broker, api, cause } => write!(f, "{broker} did not answer {api}: {cause}"),
            Fault::Garbled { broker, api, cause } => {
                write!(f, "{broker} answered {api} with bytes that cannot be read: {cause}")
            }
            Fault::Unsupported { broker, api, theirs: None } => write!(f, "{broker} does not speak {api}"),
            Fault::Unsupported { broker, api, theirs: Some((low, high)) } => write!(
                f,
                "{broker} speaks {api} in versions {low} to {high}, this client in {} to {}",
                api.versions().start(),
                api.versions().end()
            ),
            Fault::Unsayable(cause) => write!(f, "the request has no form in the protocol: {cause}"),
            Fault::NoSuchBroker(id) => write!(f, "the cluster names broker {id}, but not where it is"),
            Fault::Refused { doing, code, message, .. } => match message.as_deref() {
                Some(message) if !message.is_empty() => {
                    write!(f, "{doing}: {} ({message})", code.name())
                }
                _ => write!(f, "{doing}: {code}"),
            },
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let failure = Failure::new(&fault);
        match &fault {
            Fault::Unreachable { broker, cause } if cause.kind() == io::ErrorKind::ConnectionRefused => failure
                .advice(format!(
                    "Does a broker run at {broker}? 'ottla serve' starts one; --bootstrap-server names another."
                )),
            Fault::Unreachable { .. } => {
                failure.advice("Is --bootstrap-server right, and does the broker advertise a reachable address?")
            }
            Fault::Lost { cause, .. } if cause.kind() == io::ErrorKind::TimedOut => {
                failure.advice("A slow broker gets more time with --request-timeout-ms.")
            }
            Fault::Lost { broker, .. } => {
                failure.advice(format!("Is {broker} a Kafka listener without TLS? The broker's log may say more."))
            }
            _ => failure,
        }
    }
}
