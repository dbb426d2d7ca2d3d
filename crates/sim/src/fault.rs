//! Faults of port calls: which call, which occurrence, and what happens to it.

use tasks::port::PortError;

/// What happens to a port call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Not done, and said so.
    Throttled,
    /// Not done, and never will be.
    Refused,
    /// Done, but the answer is lost.
    AnswerLost,
    /// Not done, and no answer.
    RequestLost,
}

/// The n-th call of a name, counted from 1, fails so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub call: &'static str,
    pub occurrence: u32,
    pub effect: Effect,
}

impl Effect {
    /// Whether the call has its effect.
    pub fn done(self) -> bool {
        match self {
            Self::AnswerLost => true,
            Self::Throttled | Self::Refused | Self::RequestLost => false,
        }
    }

    pub fn error(self, service: &'static str) -> PortError {
        let message = format!("{self:?}");
        match self {
            Self::Throttled => PortError::Throttled { service, message },
            Self::Refused => PortError::Refused { service, message },
            Self::AnswerLost | Self::RequestLost => PortError::Unknown { service, message },
        }
    }
}
